"""One request whose answer may be followed by a second model's."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.calling.attempt import Attempt
from router.deciding.cascade import Branch, Cascade, Second, second_model
from router.deciding.decide import weight_at
from router.effort import endpoint_of
from router.forecasting.answer_numbers import Answer, answer_numbers
from router.forecasting.request_tokens import SAFE_SIDE
from router.records import Decision, Json, Request, Wishes
from router.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascading:
    """What it takes to decide, once a model has answered, whether to ask another one.

    Attributes:
        weight: success probability that one USD is worth on this request.
        cap: USD that all calls of the request may cost together; infinite without a limit.
        seconds_left: of the caller's `timeout` when the request came; infinite without one.
        began: when it came, by `time.monotonic`.
        asked: the second model, once it is asked.
    """

    version: Version
    cascade: Cascade
    branch: Branch
    request: Request
    decision: Decision
    weight: float
    cap: float
    seconds_left: float
    began: float = field(default_factory=time.monotonic)
    asked: list[Second] = field(default_factory=list)

    @staticmethod
    def of(
        version: Version, request: Request, decision: Decision, wishes: Wishes, weight: float | None
    ) -> Cascading | None:
        """None if the answer is served as it is, whatever it says.

        Args:
            weight: success probability that one USD is worth now; None: as trained.
        """
        branch = version.branch(request, decision)
        if branch is None or version.cascade is None:
            return None
        caps = (wishes.max_cost_usd, version.config.limits.max_cost_usd)
        timeout = request.parameters.get("timeout")
        return Cascading(
            version=version,
            cascade=version.cascade,
            branch=branch,
            request=request,
            decision=decision,
            weight=weight_at(wishes.tradeoff, version.policy.weight if weight is None else weight),
            cap=min((cap for cap in caps if cap is not None), default=math.inf),
            seconds_left=float(timeout) if isinstance(timeout, int | float) else math.inf,
        )

    def second(self, attempts: Sequence[Attempt], cooling: Collection[str]) -> Second | None:
        """The model to ask after the last attempt, or None to keep its answer.

        A model is asked that may serve the request, does not cool down and has not failed on it, if all calls
        together stay within the limits on cost, models and time.
        """
        last = attempts[-1]
        answer = answer_in(last.response)
        tried = {endpoint_of(attempt.model) for attempt in attempts}
        full = len(tried) >= self.version.config.calls.max_models
        if last.model != self.decision.model or answer is None or full or self.remaining() <= 0:
            return None
        candidates = [
            model
            for model in self.decision.ranking
            if endpoint_of(model) not in {*tried, *cooling} and self._affords(attempts, model)
        ]
        numbers = answer_numbers(
            self.request, answer, finish_reason=last.finish_reason, output_tokens=last.usage.output_tokens
        )
        forecast = self.decision.success_probability[last.model]
        grade = self.branch.grade(last.model, forecast, self.cascade.row(numbers))
        return second_model(self.branch, self.decision, grade, candidates, self.weight)

    def remaining(self) -> float:
        """Seconds of the caller's timeout that are left."""
        return self.seconds_left - (time.monotonic() - self.began)

    def _affords(self, attempts: Sequence[Attempt], model: str) -> bool:
        if math.isinf(self.cap):
            return True
        expected = self.decision.expected_cost_usd
        spent = sum(
            expected[one.model] if one.cost_usd is None else one.cost_usd for one in attempts if one.answered
        )
        return spent + SAFE_SIDE * expected[model] <= self.cap


def answer_in(response: Any) -> Answer | None:  # noqa: ANN401 - LiteLLM's
    """The one answer of a chat response; None if it has none or several."""
    choices: Sequence[Any] = getattr(response, "choices", None) or ()
    message = getattr(choices[0], "message", None) if len(choices) == 1 else None
    if message is None:
        return None
    functions = [getattr(call, "function", None) for call in getattr(message, "tool_calls", None) or ()]
    text: Json = getattr(message, "content", None)
    return Answer(
        text=text if isinstance(text, str) else None,
        calls=[(getattr(one, "name", None), getattr(one, "arguments", None)) for one in functions],
    )


def with_seconds(arguments: Mapping[str, Json], seconds: float) -> Mapping[str, Json]:
    """The arguments with what is left of the caller's timeout; as they are if there is none."""
    return arguments if math.isinf(seconds) else {**arguments, "timeout": seconds}
