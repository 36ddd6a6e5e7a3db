"""What the declared rules say of a call's outcome: of one call, and of the calls of one session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from router.errors import CallLogError
from router.records import Json
from router.settings.functions import load_function
from router.settings.outcome_rules import (
    ErrorRule,
    EvaluationRule,
    FeedbackRule,
    FinishReasonRule,
    FunctionRule,
    JudgeRule,
    NextTurnRule,
    OtherwiseRule,
    OutcomeRule,
    RetriedRule,
    SchemaRule,
)
from training.reading.outcomes.answer_check import keeps_to_schema
from training.reading.outcomes.complaints import complains

FEEDBACK, ERROR = "feedback", "error"
"""Sources of outcomes that the log itself has."""
JUDGE = "judge"
"""Source of the outcomes that a judge model found, in an import before this one."""
ONLY_FAILURES = frozenset({"error", "finish_reason", "answer_schema", "retried", "next_turn"})
"""Kinds of the rules that look at every call and find no success."""
NOT_DRAWN = "not-drawn"
"""Source of a call whose failure one of these found, but which is not in a judge's sample. Its outcome counts
as unknown, like those of its neighbours: known failures of all calls beside known successes of a sample would
make every model look worse, and the one that fails most the worst."""
NO_TURNS = frozenset({"replay", "shadow-evaluation"})
"""Sources of the calls that nobody in a session made."""

_CHAT_REASONS = {
    "max_tokens": "length", "max_output_tokens": "length", "model_context_window_exceeded": "length",
    "refusal": "content_filter", "safety": "content_filter", "recitation": "content_filter",
}  # fmt: skip
_LEAST_WORDS = 3
_MOST_OPEN = 100
"""Calls of one prompt that a session's retry may be of: a bound on the time for a session that is a loop."""
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvidence:
    """What the rules look at in one call.

    Attributes:
        success, score, source: as the log has them.
        error: its class.
        answer: in any form that a reader gives.
        tools, response_format: JSON text.
        whole: all fields of the call by name, for a function.
    """

    success: bool | None = None
    score: float | None = None
    source: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    answer: Json = None
    tools: str | None = None
    response_format: str | None = None
    whole: Mapping[str, Json]

    @property
    def failed(self) -> bool:
        """Whether the call ended in an error, the model's or not."""
        return self.error is not None or self.source == ERROR


@dataclass(frozen=True, slots=True)
class Said:
    """What the rules said of one call, a bit a rule, the first rule's the lowest.

    Attributes:
        yes, no: the rules that found a success, and a failure.
    """

    yes: int = 0
    no: int = 0

    def __or__(self, other: Said) -> Said:
        return Said(self.yes | other.yes, self.no | other.no)

    def heard(self, number: int) -> bool:
        """Whether a rule up to this one, counted from 0, says anything."""
        return bool((self.yes | self.no) & ((2 << number) - 1))

    def decision(self) -> tuple[int, bool] | None:
        """Number of the rule that decides, from 0, and what it says; None if none says anything."""
        either = self.yes | self.no
        if not either:
            return None
        first = (either & -either).bit_length() - 1
        return first, bool(self.yes >> first & 1)


def said_of_call(rules: Sequence[OutcomeRule], call: CallEvidence) -> Said:
    """What each rule that looks at one call alone says of it.

    Raises:
        CallLogError: a function raised, or returned something else than true, false or None.
    """
    yes = no = 0
    for number, rule in enumerate(rules if call.source != NOT_DRAWN else ()):
        verdict = _says(rule, call)
        if verdict is not None:
            yes |= verdict << number
            no |= (not verdict) << number
    return Said(yes, no)


def source_of(rule: OutcomeRule, logged: str | None) -> str:
    """The `outcome_source` of an outcome that `rule` decided.

    Args:
        logged: the source that the log has for the call.
    """
    if rule.feedback:
        return logged or FEEDBACK
    return rule.function.source if rule.function else rule.kind


def _says(rule: OutcomeRule, call: CallEvidence) -> bool | None:
    value = next(value for _, value in rule if value is not None)
    check = _CHECKS.get(type(value))
    return check(value, call) if check else None


def _feedback(rule: FeedbackRule, call: CallEvidence) -> bool | None:
    source = call.source or FEEDBACK
    wanted = source != ERROR if rule.sources is None else source in rule.sources
    return call.success if wanted else None


def _evaluation(rule: EvaluationRule, call: CallEvidence) -> bool | None:
    return None if call.score is None else call.score >= rule.min_score


def _error(rule: ErrorRule, call: CallEvidence) -> bool | None:
    blamed = call.source == ERROR and call.success is False
    named = set((call.error or "").split(": ")) & set(rule.classes)
    return False if blamed or named else None


def _finish_reason(rule: FinishReasonRule, call: CallEvidence) -> bool | None:
    if call.finish_reason is None:
        return None
    plain = call.finish_reason.lower()
    return False if {plain, _CHAT_REASONS.get(plain, plain)} & set(rule.reasons) else None


def _schema(rule: SchemaRule, call: CallEvidence) -> bool | None:
    if call.failed:
        return None
    fits = keeps_to_schema(
        call.answer, call.response_format, call.tools, max_bytes=rule.max_bytes, timeout_s=rule.timeout_s
    )
    return False if fits is False else None


def _function(rule: FunctionRule, call: CallEvidence) -> bool | None:
    try:
        verdict = _loaded(rule.call)(call.whole)
    except Exception as error:  # noqa: BLE001 - the team's own function may raise anything
        raise CallLogError(
            f"outcomes: {rule.call} raised {type(error).__name__} on a call; "
            "let it return None where it can't tell"
        ) from None
    if verdict is not None and not isinstance(verdict, bool):
        raise CallLogError(
            f"outcomes: {rule.call} returned {type(verdict).__name__}; it must be True, False or None"
        )
    return verdict


_loaded = lru_cache(maxsize=64)(load_function)


def _judged(rule: JudgeRule, call: CallEvidence) -> bool | None:
    del rule
    return call.success if call.source == JUDGE else None


def _otherwise(rule: OtherwiseRule, call: CallEvidence) -> bool | None:
    return None if call.failed else rule.success


_CHECKS: Mapping[type, Callable[[Any, CallEvidence], bool | None]] = {
    FeedbackRule: _feedback, EvaluationRule: _evaluation, ErrorRule: _error, SchemaRule: _schema,
    FinishReasonRule: _finish_reason, FunctionRule: _function, JudgeRule: _judged,
    OtherwiseRule: _otherwise,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCall:
    """What the rules look at in a call of a session.

    Attributes:
        time: in microseconds since 1970.
        failed: it ended in an error; what comes next says nothing of the model's worth.
        turn: the beginning of the last thing the user said; None where there is none.
    """

    key: str
    model: str
    time: int
    failed: bool
    turn: str | None


def said_of_session(rules: Sequence[OutcomeRule], calls: Sequence[SessionCall]) -> Mapping[int, Said]:
    """What the rules that look at a session say, by the position of the call.

    Args:
        calls: of one session, in order of time.
    """
    said: dict[int, Said] = defaultdict(Said)
    for number, rule in enumerate(rules):
        found: Iterable[int] = ()
        if rule.retried:
            found = _retried(rule.retried, calls)
        elif rule.next_turn:
            found = _disliked(rule.next_turn, calls)
        for position in found:
            said[position] |= Said(no=1 << number)
    return said


def _retried(rule: RetriedRule, calls: Sequence[SessionCall]) -> Iterable[int]:
    open_: dict[str, list[int]] = defaultdict(list)
    for position, call in enumerate(calls):
        waiting: list[int] = []
        for before in open_[call.key]:
            apart = (call.time - calls[before].time) / _MICROSECONDS
            if apart <= rule.within_s:
                if apart > 0 and _counts(rule, calls[before].model, call.model):
                    yield before
                else:
                    waiting.append(before)
        open_[call.key] = waiting[-_MOST_OPEN:] if call.failed else [*waiting[-_MOST_OPEN:], position]


def _counts(rule: RetriedRule, before: str, after: str) -> bool:
    return rule.model == "any" or (rule.model == "same") == (before == after)


def _disliked(rule: NextTurnRule, calls: Sequence[SessionCall]) -> Iterable[int]:
    for position, (call, after) in enumerate(pairwise(calls)):
        soon = 0 < after.time - call.time <= rule.within_s * _MICROSECONDS
        if not soon or call.failed or call.turn is None or after.turn is None or call.turn == after.turn:
            continue
        if (rule.complaint and complains(after.turn)) or (
            rule.rephrasing and _similarity(call.turn, after.turn) >= rule.similarity
        ):
            yield position


def _similarity(one: str, other: str) -> float:
    """Share of the words in either text that are in both; 0 for texts too short to tell."""
    first, second = set(one.casefold().split()), set(other.casefold().split())
    return len(first & second) / len(first | second) if min(len(first), len(second)) >= _LEAST_WORDS else 0.0
