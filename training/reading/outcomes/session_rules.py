"""The outcome rules that look at a session, over the calls that the read pass left; and their count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from router.settings.outcome_rules import OutcomeRule
from training.reading.outcomes.amendments import VERDICTS, amendment, session_verdicts
from training.reading.outcomes.judge_report import JudgeReport
from training.reading.outcomes.rules import (
    JUDGE,
    NOT_DRAWN,
    ONLY_FAILURES,
    Said,
    SessionCall,
    said_of_session,
)

if TYPE_CHECKING:
    import daft

_CALLS_AT_ONCE = 1_000_000
_LOOKED_AT = (
    "place", "session_id", "time", "prompt_key", "model", "outcome_source", "yes", "no", "failed", "turn",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """What one rule did.

    Attributes:
        rule: its place in the list, from 1, and its kind.
        succeeded, failed: calls whose outcome it decided.
        overruled: calls of which it said something else than the rule that decided.
    """

    rule: str
    succeeded: int
    failed: int
    overruled: int

    @property
    def kind(self) -> str:
        """The rule's, without its place."""
        return self.rule.partition(". ")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts:
    """What the outcome rules did to the calls of a log.

    Attributes:
        rules: in their order.
        unjudged: calls whose outcome no rule found.
        conflicting: calls of which two rules said different things.
        conflicts: calls per pair of the rule that decided and one that it overruled, the most first.
        judge: what asking the judge came to; None where none was asked.
    """

    rules: Sequence[RuleCount]
    unjudged: int
    conflicting: int
    conflicts: Mapping[str, int]
    judge: JudgeReport | None = None

    @property
    def one_sided(self) -> Mapping[str, int]:
        """Failures by rule, of the rules that could have found a success, and found none."""
        able = (one for one in self.rules if one.kind not in ONLY_FAILURES | {JUDGE})
        return {one.rule: one.failed for one in able if one.failed and not one.succeeded}


def judge_sessions(rules: Sequence[OutcomeRule], calls: daft.DataFrame, kept: int, folder: Path) -> None:
    """Write what the rules that look at a session say, one row a call of which they say something.

    The sessions are taken in slices by the hash of their name, a million calls or so at once, so that memory
    stays the same for a log of any length; the calls of one session come together. A call without a session
    or a time is not looked at, nor is one that nobody made in it (a replay, a shadow).

    Args:
        calls: of the whole log, without repeats.
        kept: how many there are, repeats included.
    """
    with_session = calls.where(
        calls["in_session"] & calls["session_id"].not_null() & calls["time"].not_null()
    ).select(*_LOOKED_AT)
    slices = 1 + kept // _CALLS_AT_ONCE
    hashed: Any = with_session["session_id"].hash()
    with pq.ParquetWriter(session_verdicts(folder), VERDICTS) as writer:
        for number in range(slices):
            some = with_session.where(hashed % slices == number) if slices > 1 else with_session
            frame = pl.DataFrame(some.to_arrow()).sort("session_id", "time", "place")
            found = [row for session in _sessions(frame) for row in _said(rules, session)]
            writer.write_table(pa.Table.from_pylist(found, VERDICTS))


def _sessions(frame: pl.DataFrame) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The calls of each session that has several; the frame is sorted by session."""
    together: list[Mapping[str, Any]] = []
    micro = frame.with_columns(pl.col("time").dt.epoch("us"))
    for call in micro.iter_rows(named=True):
        if together and call["session_id"] != together[0]["session_id"]:
            if len(together) > 1:
                yield together
            together = []
        together.append(call)
    if len(together) > 1:
        yield together


def _said(rules: Sequence[OutcomeRule], session: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    calls = [
        SessionCall(
            key=call["prompt_key"],
            model=call["model"],
            time=call["time"],
            failed=call["failed"],
            turn=call["turn"],
        )
        for call in session
    ]
    for position, said in said_of_session(rules, calls).items():
        call = session[position]
        if call["outcome_source"] != NOT_DRAWN:
            yield amendment(rules, call["place"], Said(call["yes"], call["no"]), said)


def count_outcomes(rules: Sequence[OutcomeRule], calls: daft.DataFrame) -> OutcomeCounts:
    """What every rule did; an `otherwise` overrules nothing and is not overruled.

    Args:
        calls: without repeats, with the verdicts of sessions and judge.
    """
    groups = calls.groupby("yes", "no").agg(calls["place"].count().alias("calls")).to_pydict()
    names = [f"{number}. {rule.kind}" for number, rule in enumerate(rules, start=1)]
    decisions: Counter[tuple[int, bool]] = Counter()
    overruled: Counter[int] = Counter()
    conflicts: Counter[str] = Counter()
    unjudged = conflicting = 0
    for yes, no, count in zip(groups["yes"], groups["no"], groups["calls"], strict=True):
        said = Said(yes, no)
        decided = said.decision()
        if decided is None:
            unjudged += count
            continue
        decisions[decided] += count
        others = _overruled(rules, said, decided)
        conflicting += count if others else 0
        overruled.update(dict.fromkeys(others, count))
        conflicts.update({f"{names[decided[0]]} over {names[other]}": count for other in others})
    return OutcomeCounts(
        rules=[
            RuleCount(
                rule=name,
                succeeded=decisions[number, True],
                failed=decisions[number, False],
                overruled=overruled[number],
            )
            for number, name in enumerate(names)
        ],
        unjudged=unjudged,
        conflicting=conflicting,
        conflicts=dict(conflicts.most_common()),
    )


def _overruled(rules: Sequence[OutcomeRule], said: Said, decided: tuple[int, bool]) -> Sequence[int]:
    """The rules that said something else than the one that decided."""
    against = said.no if decided[1] else said.yes
    return [number for number, rule in enumerate(rules) if against >> number & 1 and rule.otherwise is None]
