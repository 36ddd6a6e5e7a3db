"""Serve the router in a FastAPI application: it lives as long as the application, and users report outcomes.

Run it in this folder: `pip install 'pointsman[litellm]' fastapi uvicorn`, set OPENAI_API_KEY,
`uvicorn fastapi_app:app`. POST /chat answers with a `call_id`; POST /feedback takes it with `success`. Both
belong behind your own authentication.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from pydantic import BaseModel

from pointsman import Router


class Question(BaseModel):
    """What a user asks."""

    text: str
    session_id: str | None = None


class Feedback(BaseModel):
    """What a user says of an answer."""

    call_id: str
    success: bool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the router once; its last log rows are written when the application ends."""
    async with Router.load("pointsman.yaml", config="pointsman.yaml") as app.state.router:
        app.state.router.warm_up()
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chat")
async def chat(question: Question, request: Request) -> dict[str, str | None]:
    """Answer by the model that the router chooses."""
    router: Router = request.app.state.router
    messages = [{"role": "user", "content": question.text}]
    response = await router.acompletion(messages=messages, session_id=question.session_id)
    text = response.choices[0].message.content
    return {"text": text, "model": response.decision.answered_by, "call_id": response.decision.call_id}


@app.post("/feedback", status_code=204)
def feedback(opinion: Feedback, request: Request) -> None:
    """Record a thumb up or down."""
    request.app.state.router.feedback(opinion.call_id, success=opinion.success, source="thumbs")
