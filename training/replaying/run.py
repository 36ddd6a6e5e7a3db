"""Makes the calls of a replay, and writes each as a line of a new call log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from router.call_log.rows import CallRecord, fit_row, row_to_json
from router.calling.attempt import Attempt
from router.numbers import dollars
from router.records import Json, Request
from router.serving.completion import THE_MODELS_OWN_FAULT
from router.settings.sections import Config
from training.pages.rendering import Showable
from training.progress import Advance, Reporter
from training.reading.outcomes.rules import can_call_a_success
from training.replaying.plan import ReplayCall, ReplayOffer, ReplayPlan, offer_of
from training.spending.budget import ledger_of, read_lines, spent_in
from training.spending.paid_calls import CallTerms, Work, billing_of, check_callable, make_calls, message_of
from training.spending.tally import CallsMade, nothing_made

SOURCE = "replay"

Outcome: TypeAlias = Callable[[Request, Attempt], bool | None]
"""Whether a call succeeded; None if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Replayed(Showable):
    """The result of a replay.

    Attributes:
        out: the log of the calls.
        offer: the calls that were left to make, and their price.
        done: what became of them; None after a dry run.
    """

    out: Path
    offer: ReplayOffer
    done: CallsMade | None

    @property
    def calls_failed(self) -> bool:
        """Whether a call failed, or a model was given up."""
        return self.done is not None and bool(self.done.failed or self.done.given_up)

    def to_json(self) -> dict[str, Json]:
        """What `pointsman replay --json` prints."""
        return (self.done or self.offer).to_json()

    def in_short(self) -> str:
        """See `Showable`."""
        cost = self.offer.cost
        if self.done is None:
            price = f"about {dollars(cost.expected_usd)}, at most {dollars(cost.at_most_usd)}"
            covered = self.offer.affordable.surely
            return f"{cost.calls:,} calls would cost {price}; the budget surely covers {covered:,} of them"
        spent = f"{dollars(self.done.spent_usd)} of {dollars(self.offer.budget_usd)} is spent"
        return f"{self.done.answered:,} of {cost.calls:,} calls are in {self.out}; {spent}"

    def in_rows(self) -> Sequence[Sequence[str]]:
        """One row a model; see `Showable`."""
        return [
            ("model", "calls", "expected", "at most"),
            *(
                (model, f"{cost.calls:,}", dollars(cost.expected_usd), dollars(cost.at_most_usd))
                for model, cost in self.offer.by_model.items()
            ),
        ]


def replay_agreed(
    plan: ReplayPlan,
    terms: CallTerms,
    config: Config,
    reporter: Reporter,
    agree: Callable[[ReplayOffer], object] | None,
) -> Replayed:
    """Offer the calls of a plan that have no line in the output yet, and make them.

    Args:
        agree: gets the offer first, and raises to decline; None: call no model.

    Raises:
        CallLogError: the output can't be written, or another run writes it.
        ConfigError: the settings send calls through a proxy or gateway, or a key is missing.
    """
    left = unfinished(plan.calls, terms.out)
    spent, graded = spent_in(read_lines(ledger_of(terms.out))), can_call_a_success(config.outcomes.rules)
    offer = offer_of(plan, left, terms.budget_usd, spent, graded=graded)
    done = None
    if agree is not None and left:
        check_callable({call.model for call in left}, config)
        agree(offer)
        done = replay_plan(plan, terms, config, reporter.stage("calling models", len(left)))
    elif agree is not None:
        done = nothing_made(offer.spent_usd)
    return Replayed(out=terms.out, offer=offer, done=done)


def unfinished(calls: Sequence[ReplayCall], out: Path) -> Sequence[ReplayCall]:
    """The calls that have no line in the output yet.

    Raises:
        CallLogError: the output exists, and no replay wrote it.
    """
    return _without(calls, read_lines(out))


def known_outcome(request: Request, attempt: Attempt) -> bool | None:
    """The outcome of a call as in the runtime's own call log: failure by the model's own fault, else unknown.

    The line also has the model's answer, for outcome rules that are applied later.
    """
    del request
    return False if attempt.kind in THE_MODELS_OWN_FAULT else None


def replay_plan(
    plan: ReplayPlan,
    terms: CallTerms,
    config: Config,
    advance: Advance = lambda done: None,
    outcome: Outcome = known_outcome,
) -> CallsMade:
    """Make the calls of a plan that have no line in the output yet, and append a line for each.

    As `make_calls` says, the next run continues where a stopped one ends, and the budget holds.

    Args:
        advance: called with 1 after each call.
        outcome: says whether a call succeeded.

    Raises:
        CallLogError: the output can't be written, or another run writes it.
        ConfigError: the settings send calls through a proxy or gateway, or a key is missing.
    """

    def line(call: ReplayCall, attempt: Attempt) -> Mapping[str, Json]:
        return _line(call, attempt, outcome(call.request, attempt), plan.policy_version)

    return make_calls(Work(calls=plan.calls, left=_without, line=line), terms, config, advance)


def _line(call: ReplayCall, attempt: Attempt, success: bool | None, policy_version: str) -> dict[str, Json]:
    """A finished call as a line of the canonical call log, with evidence for outcome rules."""
    request = call.request
    record = CallRecord(
        call_id=_call_id(call),
        messages=None,
        task_type=request.task_type,
        tags=tuple(request.tags),
        model=call.model,
        success=success,
        outcome_source=SOURCE,
        **billing_of(attempt),
        cached_input_tokens=attempt.usage.cached_input_tokens,
        cache_write_tokens=attempt.usage.cache_write_tokens,
        reasoning_tokens=attempt.usage.reasoning_tokens,
        latency_s=attempt.latency_s,
        policy_version=policy_version,
        decision_source=SOURCE,
        confidence=call.confidence,
        prompt_key=call.key,
        error=f"{attempt.kind}: {type(attempt.error).__name__}" if attempt.kind else None,
        finish_reason=attempt.finish_reason,
        notes=attempt.notes,
    )
    texts = {
        "messages": list(request.messages),
        "tools": request.tools,
        "response_format": request.response_format,
        "sampling_probability": call.sampling_probability,
        "answer": message_of(attempt),
    }
    whole = {**row_to_json(fit_row(asdict(record))), **texts}
    return {name: value for name, value in whole.items() if value is not None}


def _without(calls: Sequence[ReplayCall], lines: Sequence[Mapping[str, Json]]) -> Sequence[ReplayCall]:
    finished = {(line.get("prompt_key"), line.get("model")) for line in lines}
    return [call for call in calls if (call.key, call.model) not in finished]


def _call_id(call: ReplayCall) -> str:
    """An id by prompt and model, so that a line that was written twice is read once."""
    return f"replay-{hashlib.sha256(f'{call.key} {call.model}'.encode()).hexdigest()[:32]}"
