"""Applies the outcome rules that look at a session, after the read pass, and counts what all rules did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.settings.outcome_rules import OutcomeRule
from training.reading.outcomes.amendments import VERDICTS, amendment, session_verdicts
from training.reading.outcomes.judge_report import GraderReport, JudgeReport
from training.reading.outcomes.rules import (
    JUDGE,
    NOT_DRAWN,
    ONLY_FAILURES,
    RuleDecision,
    RuleVotes,
    SessionCall,
    votes_on_session,
)

if TYPE_CHECKING:
    import daft

_CALLS_AT_ONCE = 1_000_000
_COLUMNS = (
    "place", "session_id", "time", "prompt_key", "model", "outcome_source", "yes", "no", "failed", "turn",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """What one rule did.

    Attributes:
        rule: its position in the list, from 1, and its kind.
        succeeded, failed: calls whose outcome it decided.
        overruled: calls on which it voted against the rule that decided.
    """

    rule: str
    succeeded: int
    failed: int
    overruled: int

    @property
    def kind(self) -> str:
        """The rule's kind, without its position."""
        return self.rule.partition(". ")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts:
    """What the outcome rules did to the calls of a log.

    Attributes:
        rules: in their order.
        unjudged: calls on which no rule voted.
        conflicting: calls on which two rules voted differently.
        conflicts: calls per pair of the rule that decided and one that it overruled, the most first.
        judge: None if no judge was called.
        grader: None if nothing was graded; grades are no outcomes, and count nowhere here.
    """

    rules: Sequence[RuleCount]
    unjudged: int
    conflicting: int
    conflicts: Mapping[str, int]
    judge: JudgeReport | None = None
    grader: GraderReport | None = None

    @property
    def one_sided(self) -> Mapping[str, int]:
        """Failures by rule, of the rules that decided failures only and might have decided successes."""
        two_sided = (count for count in self.rules if count.kind not in ONLY_FAILURES | {JUDGE})
        return {count.rule: count.failed for count in two_sided if count.failed and not count.succeeded}


def judge_sessions(rules: Sequence[OutcomeRule], calls: daft.DataFrame, kept: int, folder: Path) -> None:
    """Write the amendments of the rules that look at a session, one row per call on which they vote.

    Slices of sessions, by the hash of their name, hold about a million calls at a time, so memory stays the
    same for any log. Calls without a session or a time do not count, nor calls that nobody in the session
    made (replays and shadow evaluations).

    Args:
        calls: of the whole log, without duplicates.
        kept: their number including duplicates.
    """
    with_session = calls.where(
        calls["in_session"] & calls["session_id"].not_null() & calls["time"].not_null()
    ).select(*_COLUMNS)
    slices = 1 + kept // _CALLS_AT_ONCE
    hashed: Any = with_session["session_id"].hash()
    with pq.ParquetWriter(session_verdicts(folder), VERDICTS) as writer:
        for number in range(slices):
            part = with_session.where(hashed % slices == number) if slices > 1 else with_session
            frame = pl.DataFrame(part.to_arrow()).sort("session_id", "time", "place")
            rows = [row for session in _sessions(frame) for row in _amendments(rules, session)]
            writer.write_table(pa.Table.from_pylist(rows, VERDICTS))


def _sessions(frame: pl.DataFrame) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The calls of each session with several calls; the frame must be sorted by session."""
    rows = frame.with_columns(pl.col("time").dt.epoch("us")).iter_rows(named=True)
    for _, session in groupby(rows, key=itemgetter("session_id")):
        calls = list(session)
        if len(calls) > 1:
            yield calls


def _amendments(
    rules: Sequence[OutcomeRule], session: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    seen = ("model", "time", "failed", "turn")
    calls = [SessionCall(key=call["prompt_key"], **{name: call[name] for name in seen}) for call in session]
    for position, votes in votes_on_session(rules, calls).items():
        call = session[position]
        if call["outcome_source"] != NOT_DRAWN:
            yield amendment(rules, call["place"], RuleVotes(call["yes"], call["no"]), votes)


def count_outcomes(rules: Sequence[OutcomeRule], calls: daft.DataFrame) -> OutcomeCounts:
    """Count what every rule did; an `otherwise` rule overrules nothing and is never overruled.

    Args:
        calls: without duplicates, with the amendments of session rules and judge.
    """
    groups = calls.groupby("yes", "no").agg(calls["place"].count().alias("calls")).to_pydict()
    names = [f"{number}. {rule.kind}" for number, rule in enumerate(rules, start=1)]
    decisions: Counter[RuleDecision] = Counter()
    overruled: Counter[int] = Counter()
    conflicts: Counter[str] = Counter()
    unjudged = conflicting = 0
    for yes, no, count in zip(groups["yes"], groups["no"], groups["calls"], strict=True):
        votes = RuleVotes(yes, no)
        decision = votes.decision()
        if decision is None:
            unjudged += count
            continue
        decisions[decision] += count
        others = [rule for rule in votes.against(decision) if rules[rule].otherwise is None]
        conflicting += count if others else 0
        overruled.update(dict.fromkeys(others, count))
        conflicts.update({f"{names[decision.rule]} over {names[other]}": count for other in others})
    return OutcomeCounts(
        rules=[
            RuleCount(
                rule=name,
                succeeded=decisions[RuleDecision(number, True)],
                failed=decisions[RuleDecision(number, False)],
                overruled=overruled[number],
            )
            for number, name in enumerate(names)
        ],
        unjudged=unjudged,
        conflicting=conflicting,
        conflicts=dict(conflicts.most_common()),
    )
