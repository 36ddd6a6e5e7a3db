"""Call the router instead of a model: plainly, in a coroutine and as a stream; then report what came of it.

Run it in this folder: `pip install 'pointsman[litellm]'`, set OPENAI_API_KEY, `python sdk.py`. Rules alone
decide here: for a trained router, `Router.load` takes its folder or models:/NAME@champion as first argument.
`pointsman costs calls.db` shows what the calls cost.
"""

import asyncio

from pointsman import Router

QUESTION = [{"role": "user", "content": "Which bus goes to the station?"}]


def plain(router: Router) -> None:
    """Answer, and say which model did."""
    response = router.completion(messages=QUESTION, task_type="support", max_cost_usd=0.05)
    print(response.decision.answered_by, response.choices[0].message.content)
    router.feedback(response.decision.call_id, success=True)  # at any later time, from any process


async def in_a_coroutine(router: Router) -> None:
    """Ask twice at once."""
    answers = await asyncio.gather(*(router.acompletion(messages=QUESTION) for _ in range(2)))
    for response in answers:
        router.feedback(response.decision.call_id, score=0.75)


def as_a_stream(router: Router) -> None:
    """Print the answer as it comes."""
    stream = router.completion(messages=QUESTION, task_type="coding", stream=True)
    for piece in stream:
        print(piece.choices[0].delta.content or "", end="")
    print(f" ({stream.decision.model}: {stream.decision.reason})")


if __name__ == "__main__":
    with Router.load("pointsman.yaml", config="pointsman.yaml") as router:
        plain(router)
        asyncio.run(in_a_coroutine(router))
        as_a_stream(router)
