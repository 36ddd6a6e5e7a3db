"""Keep your `litellm.Router` with its deployments and keys; pointsman decides for one model name of it.

Run it in this folder: `pip install 'pointsman[litellm]'`, set OPENAI_API_KEY, `python litellm_router.py`. The
groups (`model_name`) have the names of the models in `pointsman.yaml`. A request for "smart" goes where the
router says, one for a group's name to that group, within the limits. Both are in the call log.
"""

from typing import Any

from litellm.router import Router as LiteLLMRouter

from pointsman import Router
from router.litellm_plugin import attach

DEPLOYMENTS: list[dict[str, Any]] = [
    {"model_name": "gpt-5-mini", "litellm_params": {"model": "openai/gpt-5-mini"}},
    {"model_name": "gpt-5", "litellm_params": {"model": "openai/gpt-5"}},
]


def main() -> None:
    """Ask for the alias and for a model."""
    deployments = LiteLLMRouter(model_list=DEPLOYMENTS)
    # Not closed here: LiteLLM reports a call after its answer. The end of the process writes the last rows.
    router = Router.load("pointsman.yaml", config="pointsman.yaml")
    attach(deployments, router, alias="smart")
    for name in ("smart", "gpt-5"):
        messages = [{"role": "user", "content": "Which bus goes to the station?"}]
        response: Any = deployments.completion(model=name, messages=messages)
        print(f"{name}: {response.choices[0].message.content}")


if __name__ == "__main__":
    main()
