"""The declared outcome rules: their votes on one call, and on the calls of one session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

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
"""Source of the outcomes that a judge model gave in an earlier import."""
ONLY_FAILURES = frozenset({"error", "finish_reason", "answer_schema", "retried", "next_turn"})
"""Kinds of rules that check every call and only ever vote for failure."""
NOT_DRAWN = "not-drawn"
"""Source of a call that one of these rules calls a failure, outside the judge's sample. Its outcome counts as
unknown, like those of its neighbours: known failures of all calls beside known successes of a sample would
make every model look worse, most of all the one that fails most."""
NO_TURNS = frozenset({"replay", "shadow-evaluation"})
"""Sources of the calls that nobody in a session made."""

_CHAT_REASONS = {
    "max_tokens": "length", "max_output_tokens": "length", "model_context_window_exceeded": "length",
    "refusal": "content_filter", "safety": "content_filter", "recitation": "content_filter",
}  # fmt: skip
_LEAST_WORDS = 3
_MOST_OPEN = 100
"""Earlier calls of one prompt that a retry is compared with; bounds the time for a session that loops."""
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvidence:
    """What the rules may look at in one call.

    Attributes:
        success, score, source: the outcome in the log.
        error: class of the error.
        answer: in any form that a reader returns.
        tools, response_format: JSON text.
        whole: all fields of the call by name, for the team's own functions.
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
        """Whether the call ended in an error, of the model or not."""
        return self.error is not None or self.source == ERROR


class RuleDecision(NamedTuple):
    """The first rule, by its number from 0, that votes on a call, and its vote."""

    rule: int
    success: bool


@dataclass(frozen=True, slots=True)
class RuleVotes:
    """How the rules vote on one call.

    The votes are two sets of rules, kept as the bits of two integers: bit i belongs to rule i. So the
    scratch folder holds the votes of a call in two int64 columns, by which daft groups millions of calls.

    Attributes:
        yes: the rules that vote for success.
        no: the rules that vote for failure.
    """

    yes: int = 0
    no: int = 0

    @staticmethod
    def of(rule: int, success: bool) -> RuleVotes:
        """The vote of one rule, by its number from 0."""
        return RuleVotes(yes=1 << rule) if success else RuleVotes(no=1 << rule)

    def __or__(self, other: RuleVotes) -> RuleVotes:
        return RuleVotes(self.yes | other.yes, self.no | other.no)

    def decision(self) -> RuleDecision | None:
        """The vote that counts: that of the first rule with a vote; None if no rule votes."""
        voters = self.yes | self.no
        for rule in range(voters.bit_length()):
            if voters >> rule & 1:
                return RuleDecision(rule, bool(self.yes >> rule & 1))
        return None

    def decided_by(self, rule: int) -> bool:
        """Whether this rule, by its number from 0, or an earlier one votes."""
        decision = self.decision()
        return decision is not None and decision.rule <= rule

    def against(self, decision: RuleDecision) -> Sequence[int]:
        """Numbers of the rules that vote against a decision."""
        opponents = self.no if decision.success else self.yes
        return [rule for rule in range(opponents.bit_length()) if opponents >> rule & 1]


def votes_on_call(rules: Sequence[OutcomeRule], call: CallEvidence) -> RuleVotes:
    """The votes of the rules that look at one call alone.

    Raises:
        CallLogError: a function raised, or returned something other than True, False or None.
    """
    votes = RuleVotes()
    for number, rule in enumerate(rules if call.source != NOT_DRAWN else ()):
        vote = _vote(rule, call)
        if vote is not None:
            votes |= RuleVotes.of(number, vote)
    return votes


def can_call_a_success(rules: Sequence[OutcomeRule]) -> bool:
    """Whether a rule can say of an answer alone, without a user or a judge, that it succeeded."""
    return any(rule.function or (rule.otherwise and rule.otherwise.success) for rule in rules)


def source_of(rule: OutcomeRule, logged: str | None) -> str:
    """The `outcome_source` of an outcome that `rule` decided.

    Args:
        logged: the call's source in the log.
    """
    if rule.feedback:
        return logged or FEEDBACK
    return rule.function.source if rule.function else rule.kind


def _vote(rule: OutcomeRule, call: CallEvidence) -> bool | None:
    value = next(value for _, value in rule if value is not None)
    check = _CHECKS.get(type(value))
    return check(value, call) if check else None


def _feedback(rule: FeedbackRule, call: CallEvidence) -> bool | None:
    source = call.source or FEEDBACK
    counts = source != ERROR if rule.sources is None else source in rule.sources
    return call.success if counts else None


def _evaluation(rule: EvaluationRule, call: CallEvidence) -> bool | None:
    return None if call.score is None else call.score >= rule.min_score


def _error(rule: ErrorRule, call: CallEvidence) -> bool | None:
    blamed = call.source == ERROR and call.success is False
    named = set((call.error or "").split(": ")) & set(rule.classes)
    return False if blamed or named else None


def _finish_reason(rule: FinishReasonRule, call: CallEvidence) -> bool | None:
    if call.finish_reason is None:
        return None
    return (
        False if {call.finish_reason.lower(), chat_reason(call.finish_reason)} & set(rule.reasons) else None
    )


def chat_reason(finish_reason: str) -> str:
    """The finish reason in the chat protocol's words, lower case."""
    plain = finish_reason.lower()
    return _CHAT_REASONS.get(plain, plain)


def _schema(rule: SchemaRule, call: CallEvidence) -> bool | None:
    if call.failed:
        return None
    fits = keeps_to_schema(
        call.answer, call.response_format, call.tools, max_bytes=rule.max_bytes, timeout_s=rule.timeout_s
    )
    return False if fits is False else None


def _function(rule: FunctionRule, call: CallEvidence) -> bool | None:
    try:
        vote = _loaded(rule.call)(call.whole)
    except Exception as error:  # noqa: BLE001 - the team's own function may raise anything
        raise CallLogError(
            f"outcomes: {rule.call} raised {type(error).__name__} on a call; "
            "let it return None if it can't tell the outcome"
        ) from None
    if vote is not None and not isinstance(vote, bool):
        raise CallLogError(
            f"outcomes: {rule.call} returned {type(vote).__name__}; it must return True, False or None"
        )
    return vote


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
        key: prompt key.
        time: in microseconds since 1970.
        failed: whether it ended in an error; what follows then tells nothing about the model's answer.
        turn: beginning of the user's last message; None if there is none.
    """

    key: str
    model: str
    time: int
    failed: bool
    turn: str | None


def votes_on_session(rules: Sequence[OutcomeRule], calls: Sequence[SessionCall]) -> Mapping[int, RuleVotes]:
    """The votes of the rules that look at a session, by position of the call.

    Args:
        calls: of one session, in order of time.
    """
    votes: dict[int, RuleVotes] = defaultdict(RuleVotes)
    for number, rule in enumerate(rules):
        failures: Iterable[int] = ()
        if rule.retried:
            failures = _retried(rule.retried, calls)
        elif rule.next_turn:
            failures = _disliked(rule.next_turn, calls)
        for position in failures:
            votes[position] |= RuleVotes.of(number, success=False)
    return votes


def _retried(rule: RetriedRule, calls: Sequence[SessionCall]) -> Iterable[int]:
    """Positions of the calls that a later call with the same prompt repeats."""
    unrepeated: dict[str, list[int]] = defaultdict(list)
    for position, call in enumerate(calls):
        waiting: list[int] = []
        for before in unrepeated[call.key]:
            seconds = (call.time - calls[before].time) / _MICROSECONDS
            if seconds <= rule.within_s:
                if seconds > 0 and _is_retry(rule, calls[before].model, call.model):
                    yield before
                else:
                    waiting.append(before)
        unrepeated[call.key] = waiting[-_MOST_OPEN:] + ([] if call.failed else [position])


def _is_retry(rule: RetriedRule, before: str, after: str) -> bool:
    return rule.model == "any" or (rule.model == "same") == (before == after)


def _disliked(rule: NextTurnRule, calls: Sequence[SessionCall]) -> Iterable[int]:
    """Positions of the calls after which the user complains or rephrases."""
    for position, (call, after) in enumerate(pairwise(calls)):
        soon = 0 < after.time - call.time <= rule.within_s * _MICROSECONDS
        if not soon or call.failed or call.turn is None or after.turn is None or call.turn == after.turn:
            continue
        if (rule.complaint and complains(after.turn)) or (
            rule.rephrasing and _similarity(call.turn, after.turn) >= rule.similarity
        ):
            yield position


def _similarity(one: str, other: str) -> float:
    """Share of the words of either text that are in both; 0 if a text is too short to tell."""
    first, second = set(one.casefold().split()), set(other.casefold().split())
    return len(first & second) / len(first | second) if min(len(first), len(second)) >= _LEAST_WORDS else 0.0
