"""Asking a judge model within an import, and what its verdicts make of the outcomes."""

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
from training.judging.plan import JudgeCall, JudgePlan, draw, plan_judging
from training.judging.prompt import verdict_of
from training.progress import Reporter
from training.reading.calls import CallFiles, counted
from training.reading.outcomes.amendments import VERDICTS, amendment, judge_verdicts, not_drawn
from training.reading.outcomes.judge_report import JudgeReport, Verdict, agreement, majority
from training.reading.outcomes.rules import ONLY_FAILURES, RuleVotes
from training.spending.budget import Borne, borne, ledger_of, read_lines, spent_in
from training.spending.paid_calls import CallTerms, Work, make_calls, message_of
from training.spending.tally import CallsMade
from training.whole_file import draft_of

_ROWS_AT_ONCE = 100_000
Line: TypeAlias = Mapping[str, Json]
Found: TypeAlias = Mapping[tuple[str, str], Sequence[Verdict]]
"""Verdicts by prompt key and hash of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOffer:
    """What is about to be asked, and its price; nothing has been called yet.

    Attributes:
        calls: that the whole budget bears, each taken by itself; none where the rest of it does not bear the
            next.
        over_budget: the others.
        reused: verdicts that are there from earlier imports.
        borne: how many of `calls` it bears together.
        expected_usd, at_most_usd: of `calls`, if each is made once; the second is never above what is left.
    """

    plan: JudgePlan
    calls: int
    borne: Borne
    over_budget: int
    reused: int
    expected_usd: float
    at_most_usd: float
    budget_usd: float
    spent_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTerms:
    """How an import asks its judge.

    Attributes:
        record: JSON lines, one a verdict; appended to, and read again by the next import into the same file.
        agree: sees the offer before anything is called, and raises where it is declined.
    """

    record: Path
    agree: Callable[[JudgeOffer], None]


def record_beside(out: Path) -> Path:
    """The verdicts that go with a call log, in a file that no pattern for call logs finds."""
    return out.with_name(f"{out.stem}.judged")


def judged(files: CallFiles, config: Config, terms: JudgeTerms, reporter: Reporter) -> CallFiles:
    """The calls with what the judge of the settings says of a sample of them.

    Each verdict has its line in the record before its call counts as made, so an import that is stopped at
    any moment and begun again pays nothing twice but the calls that a kill found in flight. The record holds
    hashes of prompts and answers and no text; a verdict counts again where prompt, answer, rubric, judge and
    parameters are the same.

    Raises:
        CallLogError: the record can't be written, or another import writes it.
        ConfigError: the judge has no budget, price or key, its rubric can't be read, or nobody can agree.
    """
    plan = plan_judging(files, config)
    budget = plan.rule.budget_usd
    if budget is None:
        raise ConfigError(
            "outcomes: the judge has no budget: give --judge-budget USD, or set budget_usd in its rule"
        )
    lines, spent = read_lines(terms.record), spent_in(read_lines(ledger_of(terms.record)))
    offer = _offer(plan, lines, budget, spent)
    terms.agree(offer)
    made = CallsMade(
        answered=0, failed={}, over_budget=offer.over_budget, given_up={}, cost_usd=0.0, spent_usd=spent
    )
    if offer.calls:
        advance = reporter.stage("asking the judge", offer.calls + offer.over_budget)
        how = CallTerms(
            out=terms.record,
            budget_usd=budget,
            concurrency=plan.rule.concurrency,
            per_minute=plan.rule.per_minute,
        )
        made = make_calls(
            Work(calls=plan.calls, left=_left, line=_line, wasted=_unreadable), how, config, advance
        )
    found = _found(plan, read_lines(terms.record))
    left_out = _write(plan, found, files, config)
    return counted(files, config.outcomes.rules, _report(plan, found, offer, made, left_out))


def _offer(plan: JudgePlan, lines: Sequence[Line], budget: float, spent: float) -> JudgeOffer:
    left = _left(plan.calls, lines)
    free = max(budget - spent, 0.0)
    fitting = [call for call in left if call.at_most_usd <= budget]
    if fitting and fitting[0].at_most_usd > free:
        fitting = []  # the first that does not fit is the last
    return JudgeOffer(
        plan=plan,
        calls=len(fitting),
        borne=borne(budget, spent, ((call.expected_usd, call.at_most_usd) for call in fitting)),
        over_budget=len(left) - len(fitting),
        reused=len(plan.calls) - len(left),
        expected_usd=min(sum(call.expected_usd for call in fitting), free),
        at_most_usd=min(sum(call.at_most_usd for call in fitting), free),
        budget_usd=budget,
        spent_usd=spent,
    )


def _identity(line: Line) -> tuple[Json, ...]:
    """What `JudgeCall.identity` is of the call that a line is of."""
    return tuple(line.get(name) for name in ("prompt_key", "answer_hash", "judge", "told", "repeat"))


def _left(calls: Sequence[JudgeCall], lines: Sequence[Line]) -> Sequence[JudgeCall]:
    there = {_identity(line) for line in lines}
    return [call for call in calls if call.identity not in there]


def _line(call: JudgeCall, attempt: Attempt) -> dict[str, Json]:
    """A verdict for the record: no text of the request, of the answer or of the judge's is in it."""
    usage = attempt.usage
    whole = {
        "prompt_key": call.key,
        "answer_hash": call.answer_hash,
        "judge": call.called,
        "told": call.told,
        "repeat": call.repeat,
        "verdict": _verdict(attempt),
        "time": attempt.started,
        "cost_usd": attempt.cost_usd,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "error": attempt.kind,
    }
    return {name: value for name, value in whole.items() if value is not None}


def _verdict(attempt: Attempt) -> Verdict:
    """What a reply says; one that was cut says nothing, because its verdict was still to come."""
    if not attempt.answered:
        return "refused"
    return "unreadable" if attempt.finish_reason == "length" else verdict_of(message_of(attempt))


def _unreadable(attempt: Attempt) -> str | None:
    return "held no single verdict" if _verdict(attempt) == "unreadable" else None


def _found(plan: JudgePlan, lines: Sequence[Line]) -> Found:
    """The verdicts of the plan that are in the record; a line that was written twice counts once."""
    verdicts = {_identity(line): line["verdict"] for line in lines if "verdict" in line}
    found: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for call in plan.calls:
        if call.identity in verdicts:
            found[call.key, call.answer_hash].append(verdicts[call.identity])
    return found


def _write(plan: JudgePlan, found: Found, files: CallFiles, config: Config) -> int:
    """Write what the judge says of each call of the sample; returns the number of failures it is without."""
    rows = []
    for one in plan.sample:
        success = majority(found.get(one.identity, ()), plan.rule.repeats)
        if success is not None:
            said = RuleVotes.of(plan.number, success)
            rows.append(amendment(config.outcomes.rules, one.place, one.said, said))
    left_out, gone = 0, _failures_not_drawn(plan, found, files, config)
    # The calls are read meanwhile, and joined to what has the file's name: so not to the draft.
    with draft_of(judge_verdicts(files.folder)) as draft, pq.ParquetWriter(draft, VERDICTS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, VERDICTS))
        while rows := list(islice(gone, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(rows, VERDICTS))
            left_out += len(rows)
    return left_out


def _failures_not_drawn(
    plan: JudgePlan, found: Found, files: CallFiles, config: Config
) -> Iterator[Mapping[str, Json]]:
    """The failures that a rule found among all calls, of those that the sample would not have had.

    As many are kept as the judge came to judge: where it did not finish its sample, the share that it did;
    where it judged nothing, all.
    """
    finished = sum(len(found.get(one.identity, ())) == plan.rule.repeats for one in plan.sample)
    if plan.within is None or not finished:
        return
    within, sampled = plan.within * finished // len(plan.sample), {one.place for one in plan.sample}
    rules = config.outcomes.rules
    for frame in files.frames():
        for batch in frame.select("place", "call_id", "yes", "no").to_arrow_iter():
            for row in batch.to_pylist():
                said = RuleVotes(row["yes"], row["no"])
                decided = said.decision()
                if decided is None or decided[1] or rules[decided[0]].kind not in ONLY_FAILURES:
                    continue
                if draw(row, config.training.seed) > within and row["place"] not in sampled:
                    yield not_drawn(row["place"], said)


def _report(plan: JudgePlan, found: Found, offer: JudgeOffer, made: CallsMade, left_out: int) -> JudgeReport:
    repeats = plan.rule.repeats
    verdicts = [found.get(one.identity, ()) for one in plan.sample]
    decisions = [majority(each, repeats) for each in verdicts]
    open_ = [len(each) for each, decided in zip(verdicts, decisions, strict=True) if decided is None]
    compared, unanimous, kappa = agreement([found[identity] for identity in found], repeats)
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
        replies=dict(Counter(one for each in found.values() for one in each).most_common()),
        reused=offer.reused,
        failed=made.failed,
        over_budget=made.over_budget,
        given_up=made.given_up,
        cost_usd=made.cost_usd,
        spent_usd=made.spent_usd,
        budget_usd=offer.budget_usd,
    )
