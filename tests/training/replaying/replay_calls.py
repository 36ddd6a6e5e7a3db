"""A plan of replay calls to the tests' provider; as a process: `-m tests.training.replaying.replay_calls`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from router.records import Json, Request, prompt_key
from router.settings.sections import Config
from training.replaying.plan import ReplayCall, ReplayPlan
from training.replaying.run import replay_plan
from training.spending.cost_bound import Bound
from training.spending.paid_calls import CallTerms

KEY_VARIABLE = "POINTSMAN_TEST_PROVIDER_KEY"
INPUT_USD, OUTPUT_USD = 1.0, 10.0
"""Of a million tokens."""
LONGEST = 50


def config_of(api_base: str, *models: str, **calls: Json) -> Config:
    """Settings by which the models are the provider's."""
    price = {"input_usd_per_million": INPUT_USD, "output_usd_per_million": OUTPUT_USD}
    own = {"api_base": api_base, "api_key_env": KEY_VARIABLE, "price": price}
    return Config.model_validate(
        {
            "models": {model: {**own, "litellm_model": f"openai/{model}"} for model in models},
            "calls": {"backoff_s": 0.01, **calls},
        }
    )


def plan_of(
    prompts: int, *models: str, drawn: float = 1.0, fields: Mapping[str, Json] | None = None
) -> ReplayPlan:
    """Calls of every model on prompts that are told apart by their number."""
    bound = Bound(
        per_input_token=INPUT_USD / 1e6,
        per_output_token=OUTPUT_USD / 1e6,
        per_call=0.0,
        output_tokens=LONGEST,
        arguments={"max_tokens": LONGEST},
    )
    calls = []
    for number in range(prompts):
        request = Request.of(f"What is {number} plus one?", **(fields or {}))
        key = prompt_key(request.messages, request.tools, request.response_format)
        arguments = {"messages": list(request.messages), "max_tokens": LONGEST}
        calls += [
            ReplayCall(
                key=key,
                request=request,
                model=model,
                arguments=arguments,
                confidence=0.5,
                expected_usd=1e-4,
                at_most_usd=bound.at_most(request),
                bound=bound,
                sampling_probability=drawn,
            )
            for model in models
        ]
    return ReplayPlan(calls=calls, prompts=prompts, unseen=0, set_apart={}, policy_version="v1")


def main(api_base: str, out: str, prompts: str, budget: str, concurrency: str) -> None:
    """Replay, for a test that kills this process."""
    terms = CallTerms(out=Path(out), budget_usd=float(budget), concurrency=int(concurrency))
    replay_plan(plan_of(int(prompts), "small"), terms, config_of(api_base, "small"))


if __name__ == "__main__":
    os.environ.setdefault(KEY_VARIABLE, "sk-dummy-0123456789")
    main(*sys.argv[1:])
