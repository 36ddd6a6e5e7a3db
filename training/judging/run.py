"""Calls a judge model during an import, and turns its verdicts into outcomes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from router.calling.attempt import Attempt
from router.errors import ConfigError
from router.records import Json
from router.settings.sections import Config
from training.judging.plan import JudgeCall, JudgePlan, plan_judging, rank_of
from training.judging.prompt import verdict_of
from training.progress import Reporter
from training.reading.calls import CallFiles, counted
from training.reading.outcomes.amendments import VERDICTS, amendment, judge_verdicts, not_drawn
from training.reading.outcomes.judge_report import JudgeReport, Verdict, agreement, majority
from training.reading.outcomes.rules import ONLY_FAILURES, RuleVotes
from training.spending.budget import Affordable, affordable, ledger_of, read_lines, spent_in
from training.spending.paid_calls import CallTerms, Work, billing_of, make_calls, message_of
from training.spending.tally import CallsMade, nothing_made
from training.whole_file import draft_of

_ROWS_AT_ONCE = 100_000
Line: TypeAlias = Mapping[str, Json]
Verdicts: TypeAlias = Mapping[tuple[str, str], Sequence[Verdict]]
"""Verdicts by prompt key and hash of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOffer:
    """The calls that an import is about to make, and their price.

    Attributes:
        calls: number of calls that the whole budget could each pay for; 0 if the rest of the budget can't pay
            for the next one.
        affordable: how many of `calls` the rest of the budget can pay for together.
        over_budget: number of the other calls.
        reused: verdicts from earlier imports.
        expected_usd, at_most_usd: of `calls`, if each is made once; at most the rest of the budget.
    """

    plan: JudgePlan
    calls: int
    affordable: Affordable
    over_budget: int
    reused: int
    expected_usd: float
    at_most_usd: float
    budget_usd: float
    spent_usd: float

    def to_json(self) -> dict[str, Json]:
        """What `pointsman import --dry-run --json` prints."""
        return {
            "judge": self.plan.rule.model,
            "eligible": self.plan.eligible,
            "sampled": len(self.plan.sample),
            "set_apart": dict(self.plan.set_apart),
            "repeats": self.plan.rule.repeats,
            "calls": self.calls,
            "surely_borne": self.affordable.surely,
            "expected_borne": self.affordable.expected,
            "over_budget": self.over_budget,
            "reused": self.reused,
            "expected_usd": self.expected_usd,
            "at_most_usd": self.at_most_usd,
            "budget_usd": self.budget_usd,
            "spent_usd": self.spent_usd,
        }


class DryRun(Exception):
    """Ends an import before its judge is called; nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTerms:
    """How an import calls its judge.

    Attributes:
        record: file of JSON lines, one per verdict; the next import into the same file reads them again.
        agree: gets the offer before the first call, and raises to decline it; `DryRun` only ends the import.
    """

    record: Path
    agree: Callable[[JudgeOffer], object]


def record_beside(out: Path) -> Path:
    """Path of the verdicts that belong to a call log; no pattern for call logs matches it."""
    return out.with_name(f"{out.stem}.judged")


def judged(files: CallFiles, config: Config, terms: JudgeTerms, reporter: Reporter) -> CallFiles:
    """The calls, with outcomes from the judge's verdicts on a sample of them.

    A verdict is in the record before its call counts as made, so an import that is stopped and started again
    pays only calls twice that were in flight. The record has hashes of prompts and answers, and no text. A
    verdict is used again if prompt, answer, rubric, judge and parameters are the same.

    Raises:
        CallLogError: the record can't be written, or another import writes it.
        ConfigError: the judge has no budget, price or key, its rubric can't be read, or nobody can agree.
    """
    plan = plan_judging(files, config)
    budget = plan.rule.budget_usd
    if budget is None:
        raise ConfigError(
            "outcomes: the judge has no budget; give --judge-budget USD, or set budget_usd in its rule"
        )
    lines, spent = read_lines(terms.record), spent_in(read_lines(ledger_of(terms.record)))
    offer = _offer(plan, lines, budget, spent)
    terms.agree(offer)
    result = nothing_made(spent, offer.over_budget)
    if offer.calls:
        advance = reporter.stage("asking the judge", offer.calls + offer.over_budget)
        call_terms = CallTerms(
            out=terms.record,
            budget_usd=budget,
            concurrency=plan.rule.concurrency,
            per_minute=plan.rule.per_minute,
        )
        work = Work(calls=plan.calls, left=_left, line=_line, wasted=_unreadable)
        result = make_calls(work, call_terms, config, advance)
    verdicts = _verdicts(plan, read_lines(terms.record))
    left_out = _write(plan, verdicts, files, config)
    return counted(files, config.outcomes.rules, _report(plan, verdicts, offer, result, left_out))


def _offer(plan: JudgePlan, lines: Sequence[Line], budget: float, spent: float) -> JudgeOffer:
    left = _left(plan.calls, lines)
    free = max(budget - spent, 0.0)
    fitting = [call for call in left if call.at_most_usd <= budget]
    if fitting and fitting[0].at_most_usd > free:
        fitting = []  # the budget ends at the first call that does not fit
    return JudgeOffer(
        plan=plan,
        calls=len(fitting),
        affordable=affordable(budget, spent, ((call.expected_usd, call.at_most_usd) for call in fitting)),
        over_budget=len(left) - len(fitting),
        reused=len(plan.calls) - len(left),
        expected_usd=min(sum(call.expected_usd for call in fitting), free),
        at_most_usd=min(sum(call.at_most_usd for call in fitting), free),
        budget_usd=budget,
        spent_usd=spent,
    )


def _identity(line: Line) -> tuple[Json, ...]:
    """`JudgeCall.identity` of the call of a line."""
    return tuple(line.get(name) for name in ("prompt_key", "answer_hash", "judge", "told", "repeat"))


def _left(calls: Sequence[JudgeCall], lines: Sequence[Line]) -> Sequence[JudgeCall]:
    finished = {_identity(line) for line in lines}
    return [call for call in calls if call.identity not in finished]


def _line(call: JudgeCall, attempt: Attempt) -> dict[str, Json]:
    """A verdict for the record, without any text of request, answer or reply."""
    whole = {
        "prompt_key": call.key,
        "answer_hash": call.answer_hash,
        "judge": call.called,
        "told": call.instructions_hash,
        "repeat": call.repeat,
        "verdict": _verdict(attempt),
        **billing_of(attempt),
        "error": attempt.kind,
    }
    return {name: value for name, value in whole.items() if value is not None}


def _verdict(attempt: Attempt) -> Verdict:
    """The verdict of a reply; a reply that was cut off has none yet."""
    if not attempt.answered:
        return "refused"
    return "unreadable" if attempt.finish_reason == "length" else verdict_of(message_of(attempt))


def _unreadable(attempt: Attempt) -> str | None:
    return "held no single verdict" if _verdict(attempt) == "unreadable" else None


def _verdicts(plan: JudgePlan, lines: Sequence[Line]) -> Verdicts:
    """The verdicts on the answers of the plan; a line that was written twice counts once."""
    recorded = {_identity(line): line["verdict"] for line in lines if "verdict" in line}
    verdicts: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for call in plan.calls:
        if call.identity in recorded:
            verdicts[call.key, call.answer_hash].append(recorded[call.identity])
    return verdicts


def _write(plan: JudgePlan, verdicts: Verdicts, files: CallFiles, config: Config) -> int:
    """Write the judge's outcomes of the sample; returns the number of failures beyond it."""
    rows = []
    for one in plan.sample:
        success = majority(verdicts.get(one.identity, ()), plan.rule.repeats)
        if success is not None:
            vote = RuleVotes.of(plan.number, success)
            rows.append(amendment(config.outcomes.rules, one.place, one.votes, vote))
    left_out, beyond = 0, failures_beyond_sample(plan, verdicts, files, config)
    # The loop reads the calls, joined to the file of this name: it must see no half-written one.
    with draft_of(judge_verdicts(files.folder)) as draft, pq.ParquetWriter(draft, VERDICTS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, VERDICTS))
        while rows := list(islice(beyond, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(rows, VERDICTS))
            left_out += len(rows)
    return left_out


def failures_beyond_sample(
    plan: JudgePlan, verdicts: Verdicts, files: CallFiles, config: Config
) -> Iterator[Mapping[str, Json]]:
    """Rows that make the outcome of known failures unknown where the judge would not have graded the call.

    Some rules find only failures, among all calls, while the judge finds successes only in its sample. With
    all of those failures every model would seem to fail more often than it does. So a failure counts only if
    the rank of its call is within the sample. If the judge did not finish the sample, this keeps the share
    that it finished; if it graded nothing, it keeps all failures.
    """
    finished = sum(len(verdicts.get(one.identity, ())) == plan.rule.repeats for one in plan.sample)
    if plan.last_rank is None or not finished:
        return
    last_rank, sampled = plan.last_rank * finished // len(plan.sample), {one.place for one in plan.sample}
    rules = config.outcomes.rules
    for frame in files.frames():
        for batch in frame.select("place", "call_id", "yes", "no").to_arrow_iter():
            for row in batch.to_pylist():
                votes = RuleVotes(row["yes"], row["no"])
                decided = votes.decision()
                if decided is None or decided.success or rules[decided.rule].kind not in ONLY_FAILURES:
                    continue
                if rank_of(row, config.training.seed) > last_rank and row["place"] not in sampled:
                    yield not_drawn(row["place"], votes)


def _report(
    plan: JudgePlan, verdicts: Verdicts, offer: JudgeOffer, result: CallsMade, left_out: int
) -> JudgeReport:
    repeats = plan.rule.repeats
    of_sample = [verdicts.get(one.identity, ()) for one in plan.sample]
    decisions = [majority(each, repeats) for each in of_sample]
    open_ = [len(each) for each, decided in zip(of_sample, decisions, strict=True) if decided is None]
    compared, unanimous, kappa = agreement(list(verdicts.values()), repeats)
    return JudgeReport(
        model=plan.rule.model,
        set_apart=plan.set_apart,
        eligible=plan.eligible,
        sampled=len(plan.sample),
        judged=len(decisions) - len(open_),
        succeeded=decisions.count(True),
        undecided=open_.count(repeats),
        unfinished=len(open_) - open_.count(repeats),
        left_out=left_out,
        repeats=repeats,
        compared=compared,
        unanimous=unanimous,
        kappa=kappa,
        replies=dict(Counter(one for each in verdicts.values() for one in each).most_common()),
        reused=offer.reused,
        failed=result.failed,
        over_budget=result.over_budget,
        given_up=result.given_up,
        cost_usd=result.cost_usd,
        spent_usd=result.spent_usd,
        budget_usd=offer.budget_usd,
    )
