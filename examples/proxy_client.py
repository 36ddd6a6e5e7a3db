"""Call the LiteLLM proxy with any OpenAI client, let the router decide, and report what came of the answer.

Start the proxy in this folder, after `pip install 'pointsman[proxy]'`, or all of ../compose.yaml:

    export LITELLM_MASTER_KEY=sk-... POINTSMAN_FEEDBACK_KEY=... OPENAI_API_KEY=...
    pointsman litellm-config --router pointsman.yaml --config pointsman.yaml --out proxy.yaml
    litellm --config proxy.yaml --port 4000

Then `pip install openai` and `python proxy_client.py`, with the first two keys set.
"""

import os

import httpx
import openai

PROXY = os.environ.get("PROXY", "http://127.0.0.1:4000")


def main() -> None:
    """Ask once, and call it a success."""
    client = openai.OpenAI(base_url=f"{PROXY}/v1", api_key=os.environ["LITELLM_MASTER_KEY"])
    raw = client.chat.completions.with_raw_response.create(
        model="smart",
        messages=[{"role": "user", "content": "Which bus goes to the station?"}],
        extra_body={"metadata": {"task_type": "support", "pointsman": {"max_cost_usd": 0.05}}},
    )
    print(raw.parse().choices[0].message.content)
    answer = httpx.post(
        f"{PROXY}/pointsman/feedback",
        json={"call_id": raw.headers["x-litellm-call-id"], "success": True, "source": "thumbs"},
        headers={"Authorization": f"Bearer {os.environ['POINTSMAN_FEEDBACK_KEY']}"},
        timeout=30,
    )
    print(answer.raise_for_status().json())


if __name__ == "__main__":
    main()
