"""Tables on a terminal: what was read, trained, compared and decided."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.loading.artifact import digest_of
from router.numbers import (
    bounds,
    decimal,
    dollars,
    p_value_text,
    rate,
    relative,
    signed_points,
    usd_per_thousand,
)
from router.records import Json
from router.text import printable, shortened
from training.comparing.evaluated import Claim, Comparison, PolicyResult, SliceResult
from training.comparing.report.sentences import headline, share
from training.comparing.report.summary import Headline, headline_of
from training.comparing.report.write import conclusion_of
from training.pipeline import Trained
from training.prompts.labels import LEAST_IN_COMMON
from training.reading.files.log_file import OWN_LOG
from training.reading.outcomes.judge_report import GraderReport, JudgeReport
from training.reading.outcomes.session_rules import OutcomeCounts
from training.reading.rows.cleaning import TEXT_NOT_KEPT
from training.reading.summary import ReadSummary, rows_in_files, same_names, split_names

console = Console(highlight=False, emoji=False)
MOST_PAIRS = 4
OUTCOMES = {"loss": "worse", "win": "better", "undecided": "open"}
"""What a claim means for the router, in a word that stands before it."""


def show_read_summary(summary: ReadSummary, out: Path | None = None) -> None:
    """Print what was read from call logs, and what was not."""
    calls = f"{summary.calls:,} call{'s' * (summary.calls != 1)}"
    console.print(f"{rows_in_files(summary)}: {calls}", end="")
    counts = {
        "rejected": summary.rejected,
        "repeat a call_id": summary.duplicates - summary.copies,
        "in another log as well (same prompt, time and tokens)": summary.copies,
        "with a text cut short": summary.truncated,
        "repaired": summary.repaired,
        f"whose {TEXT_NOT_KEPT}": summary.without_text,
    }
    console.print("".join(f", {count:,} {what}" for what, count in counts.items() if count))
    foreign = [f"{count:,} of {name}" for name, count in summary.readers.items() if name != OWN_LOG]
    if foreign:
        console.print(f"  files read by format: {', '.join(foreign)}", markup=False)
    if summary.joined:
        console.print(f"  joined to another row: {summary.joined}")
    for reason, count in summary.set_apart.items():
        console.print(f"  skipped: {count:,} x {reason}", markup=False)
    _values_not_read(summary)
    if summary.outcomes:
        _outcomes(summary.outcomes)
    _notes_on_names(summary)
    if summary.ignored_columns:
        console.print(f"  columns not used: {', '.join(summary.ignored_columns)}", markup=False)
    if out is not None:
        console.print(f"written: {out}", markup=False, soft_wrap=True)


def _notes_on_names(summary: ReadSummary) -> None:
    joined = [f"{sentence}: {shlex.join(options)}" for sentence, options in same_names(summary)]
    for note in (*joined, split_names(summary)):
        if note:
            console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)


def _values_not_read(summary: ReadSummary) -> None:
    for reason, count in summary.left_out.items():
        console.print(f"  values left out: {count:,} x {reason}", markup=False)
    for reject in summary.rejects:
        console.print(f"  rejected: {reject}", markup=False, soft_wrap=True)


def _outcomes(counts: OutcomeCounts) -> None:
    """Print what each rule decided, and which rules contradict each other."""
    table = Table("outcome rule", "succeeded", "failed", "overruled", box=box.SIMPLE)
    for count in counts.rules:
        table.add_row(count.rule, *(f"{one:,}" for one in (count.succeeded, count.failed, count.overruled)))
    console.print(table)
    console.print(
        f"  outcome unknown: {counts.unjudged:,} calls; rules in conflict: {counts.conflicting:,} calls",
        markup=False,
    )
    for pair, calls in counts.conflicts.items():
        console.print(f"    {pair}: {calls}", markup=False)
    if counts.judge:
        _judge(counts.judge)
        _one_sided(counts.judge, counts.one_sided)
    if counts.grader:
        _grader(counts.grader)


def _grader(report: GraderReport) -> None:
    """Print how many answers were graded, and how far to trust the grades."""
    auc, bias, slope = report.auc, report.bias, report.slope
    for line in (
        f"grader: {report.graded:,} answers graded, {report.unread:,} calls without a whole answer; learnt "
        f"from {report.succeeded:,} known successes and {report.failed:,} known failures",
        f"on outcomes it had not seen: AUC {decimal(auc.value, 2)} {bounds(auc, 'number')}, mean grade less "
        f"success rate {signed_points(bias.value)} points {bounds(bias, 'points')}, calibration slope "
        f"{decimal(slope.value, 2)} {bounds(slope, 'number')} (1 is right)",
        "a grade is no outcome: train leaves it aside, and compare uses it only where outcomes correct it",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _judge(report: JudgeReport) -> None:
    """Print a judge's calls and judgements, its agreement with itself, and its cost."""
    successes = f", {rate(report.succeeded / report.judged)} of them successes" if report.judged else ""
    lines = [
        f"judge {report.model}: {report.judged:,} calls judged{successes}; {report.sampled} were sampled of "
        f"{report.eligible}, {report.undecided} are undecided, {report.unfinished} unfinished",
        f"judgements: {_counts(report.replies) or 'none'}; {report.reused} of them from earlier imports",
    ]
    if unreadable := report.replies.get("unreadable"):
        lines.append(
            f"unreadable: {unreadable:,} replies hold no single verdict; a judge that thinks first needs "
            "more max_tokens in its rule"
        )
    if report.unanimous is not None:
        kappa = "undefined" if report.kappa is None else decimal(report.kappa, 2)
        lines.append(
            f"agreement of {report.repeats:,} judgements: all the same on {rate(report.unanimous)} of "
            f"{report.compared:,} answers, Fleiss' kappa {kappa}"
        )
    lines += [f"left out: {count:,} x {reason}" for reason, count in report.set_apart.items()]
    lines += [
        f"failed: {count:,} calls ({what}); the next import asks again"
        for what, count in report.failed.items()
    ]
    lines += [f"given up: {model}, {reason}" for model, reason in report.given_up.items()]
    if report.left_out:
        lines.append(
            f"left out: {report.left_out:,} failures of calls outside the sample count as unknown (source "
            "not-drawn), because they would make failures too frequent among the known outcomes"
        )
    if report.over_budget:
        lines.append(
            f"not asked: {report.over_budget:,} calls that the budget did not cover: raise --judge-budget. "
            "The calls that were asked come first in the sample's random order, so they are random as well"
        )
    lines.append(
        f"cost: {dollars(report.cost_usd)}; {dollars(report.spent_usd)} of {dollars(report.budget_usd)} "
        "is spent"
    )
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _one_sided(report: JudgeReport, failures: Mapping[str, int]) -> None:
    """Warn if failures come from all calls, but successes from a sample only."""
    if report.judged < report.eligible and failures:
        console.print(
            f"note: {', '.join(failures)} found {sum(failures.values()):,} failures and no success among all "
            f"calls, but the judge judged only {report.judged} of {report.eligible}: failures are too "
            "frequent among the known outcomes. Before you train or compare: judge all, or put the judge "
            "before these rules and give their sources weight 0 (outcomes.weights)",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def trained(result: Trained) -> None:
    """Print a training run: the data, the models, the estimators, and where the router is."""
    show_read_summary(result.reading)
    _models(result)
    _estimators(result)
    metrics, policy = result.manifest["metrics"], result.manifest["policy"]
    for warning in result.warnings:
        console.print(f"note: {printable(warning)}", style="yellow", markup=False, soft_wrap=True)
    if "test" in metrics:
        test = metrics["test"]
        by_router = f", {rate(test['filled_in'])} of the outcomes estimated by the router"
        filled = by_router if test["filled_in"] else ""
        console.print(
            f"untouched test part, all {decimal(test['prompts'], 0)} prompts{filled}, before the rule table "
            f"takes its own, costs per 1,000 requests: success {rate(test['success'])} "
            f"at {usd_per_thousand(test['cost_usd'])}; "
            f"best single model {rate(test['best_single_success'])} "
            f"at {usd_per_thousand(test['best_single_cost_usd'])}",
            soft_wrap=True,
        )
    console.print(
        "leaves a prompt to the rule table below a chance of success of "
        f"{decimal(policy['least_confidence'], 2)} or a similarity to known prompts of "
        f"{decimal(policy['least_familiarity'], 2)}; {result.embedded:,} prompts embedded, the rest cached",
        soft_wrap=True,
    )
    version = f", version {result.published.version}" if result.published.version else ""
    console.print(
        f"MLflow run {result.published.run_id}{version} at {result.published.tracking_uri}", soft_wrap=True
    )
    console.print(f"router {result.manifest['policy_version']} written: {result.out}", soft_wrap=True)
    console.print(f"digest {digest_of(result.manifest)}", soft_wrap=True)
    advice = result.recommendation
    console.print(f"\n{printable(advice.sentence)}", style="bold", markup=False, soft_wrap=True)
    console.print(f"next: {printable(advice.next)}", markup=False, soft_wrap=True)


def comparison(result: Comparison, out: Path) -> None:
    """Print the report in short, in 80 columns: the advice, losses, the change against today, the rest."""
    answer = headline_of(result)
    advice = result.recommendation
    console.print(f"{answer.title}. {printable(advice.sentence)}", style="bold", markup=False)
    console.print(f"next: {printable(advice.next)}\n", markup=False, soft_wrap=True)
    console.print(headline(result.verdict), markup=False)
    _claims(answer.losses)
    _change(answer)
    _claims([claim for claim in answer.claims if claim.outcome != "loss"])
    _policies(result)
    _lost_slices(result)
    notes = (*result.warnings, *(result.off_policy.warnings if result.off_policy else ()))
    for warning in notes:
        console.print(f"note: {shortened(warning, 600)}", style="yellow", markup=False)
    console.print(f"written: {out / 'report.html'} and report.json", markup=False, soft_wrap=True)


def decisions(rows: Sequence[tuple[Mapping[str, Json], Mapping[str, Json]]]) -> None:
    """Print requests beside their decisions."""
    table = _compact(None)
    for column in ("\nrequest", "\ntask type", "\nmodel", "\nsource"):
        table.add_column(column, overflow="fold")
    for column in ("confi-\ndence", "expected\n$ per 1k"):
        table.add_column(column, justify="right", no_wrap=True)
    for request, answer in rows:
        if "error" in answer:
            table.add_row(escape(str(request.get("id", ""))), "", escape(str(answer["error"])))
            continue
        usd = answer["expected_cost_usd"][answer["model"]]
        table.add_row(
            escape(str(request.get("id", ""))),
            escape(str(request.get("task_type") or "")),
            escape(printable(answer["model"])),
            answer["source"],
            decimal(answer["confidence"], 2),
            usd_per_thousand(usd),
        )
    console.print(table)


def _compact(title: str | None) -> Table:
    """A table without lines between its columns, to fit a terminal of 80 characters."""
    return Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def _models(result: Trained) -> None:
    table = _compact(f"{result.report['prompts']:,} prompts, {result.report['calls']:,} calls")
    table.add_column("\nmodel", overflow="fold")
    for column in ("\ncalls", "\noutcomes", "\nsuccess", "\n$ per 1k", "label\nexact", "upper\nbound"):
        table.add_column(column, justify="right", no_wrap=True)
    for model, figures in result.report["models"].items():
        success, cost = figures["success_rate"], figures["mean_cost_usd"]
        table.add_row(
            escape(printable(model)),
            f"{figures['calls']:,}",
            f"{figures['known_outcomes']:,}",
            rate(success),
            usd_per_thousand(cost),
            f"{figures['labels']['exact']:,}",
            f"{figures['labels']['upper bound']:,}",
        )
    console.print(table, "")
    for model, dominance in result.report["dominated"].items():
        low, high = dominance["success_interval"]
        line = (
            f"{model} is dominated: {dominance['by']} is no dearer and no worse on {dominance['prompts']:,} "
            f"prompts in common (success {signed_points(dominance['success_difference'])} points "
            f"[{signed_points(low)}, {signed_points(high)}], cost "
            f"{dollars(dominance['cost_difference_usd'] * 1000, signed=True)} per 1,000 requests)"
        )
        console.print(printable(line), markup=False, soft_wrap=True)
    if rare := result.report["rarely_shared"]:
        pairs = [f"{' and '.join(pair['models'])} ({pair['prompts']:,})" for pair in rare[:MOST_PAIRS]]
        more = f" and {len(rare) - MOST_PAIRS} more pairs" if len(rare) > MOST_PAIRS else ""
        least = f"{LEAST_IN_COMMON} are the least"
        what = "prompts in common with both outcomes and both costs"
        line = f"not enough {what} to compare: {', '.join(pairs)}{more}; {least}"
        console.print(printable(line), markup=False, soft_wrap=True)
    status = ", ".join(f"{count:,} {name}" for name, count in result.report["label_status"].items())
    console.print(f"label, the cheapest model that succeeds: {status} (prompts)", soft_wrap=True)


def _estimators(result: Trained) -> None:
    table = _compact("estimators on the validation part")
    table.add_column("estimator", overflow="fold")
    for column in ("regularisation", "cost at best", "value", "Brier", "ECE"):
        table.add_column(column, justify="right", no_wrap=True)
    for kind, candidate in result.fitted.candidates.items():
        name = f"{kind} (published)" if kind == result.fitted.published else kind
        scores = candidate.validation
        table.add_row(
            name,
            f"{candidate.setting.value:g}",
            relative(scores.get("cost_at_best", float("nan"))),
            decimal(scores.get("decision_value", float("nan")), 4),
            decimal(scores.get("brier", float("nan")), 4),
            decimal(scores.get("calibration_error", float("nan")), 4),
        )
    console.print(table)
    console.print(
        "value: success of the choices less what their cost is worth; Brier, ECE: errors of the chances, "
        "0 at best",
        soft_wrap=True,
    )
    console.print(f"published: {result.fitted.published}, because {result.fitted.why}", soft_wrap=True)


def _claims(claims: Sequence[Claim]) -> None:
    """Print one claim a row, beside what it means for the router."""
    if not claims:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True, min_width=9)
    grid.add_column()
    for claim in claims:
        style = {"loss": "red", "win": "green"}.get(claim.outcome, "yellow")
        word = OUTCOMES.get(claim.outcome, claim.outcome)
        grid.add_row(f"[{style}]{word}[/]", escape(shortened(claim.text, 600)))
    console.print(grid)


def _change(answer: Headline) -> None:
    """Print what would change per 1,000 requests against what runs today, if any of it is known."""
    if answer.cost.tone is None and answer.failures.tone is None:
        return
    model = f" ({shortened(answer.model, 40)})" if answer.model and answer.model != answer.today else ""
    today = shortened(answer.today, 40)
    console.print(f"\nper 1,000 requests, against what runs today, {today}{model}:", markup=False)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True, min_width=9)
    for figure, name in ((answer.cost, "cost"), (answer.failures, "failures")):
        style = {"loss": "red", "win": "green", "undecided": "yellow"}.get(figure.tone or "", "")
        interval = f"[{figure.interval}]" if figure.known else figure.interval
        word = f"[{style}]{figure.word}[/]" if style else figure.word
        grid.add_row(name, f"[bold]{figure.value}[/]", escape(interval), word, figure.levels)
    console.print(grid, "")


def _policies(result: Comparison) -> None:
    """Print every policy, with the router's paired differences from it."""
    title = f"prompts: {result.prompts:,}, independent groups: {result.clusters:,}; 95 % intervals"
    table = _compact(title)
    table.add_column("\npolicy", overflow="fold", max_width=24)
    for column in (
        "\nsuccess",
        "\n$ per 1k",
        "router's success\nless this, points",
        "router's cost,\nshare of this",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    policies = (result.router, *result.policies)
    refused: dict[str, list[str]] = {}
    for policy in policies:
        why = policy.support.refused if policy.support else None
        if why is not None:
            refused.setdefault(why, []).append(shortened(policy.name, 60))
        if why is None or policy is result.router:
            table.add_row(*_policy_row(policy, is_router=policy is result.router))
    console.print(table, "")
    for why, names in refused.items():
        console.print(f"refused: {', '.join(names)}: {shortened(why, 300)}", style="yellow", markup=False)


def _policy_row(policy: PolicyResult, *, is_router: bool) -> list[str]:
    name = escape(shortened(policy.name, 60))
    if policy.support is not None and policy.support.refused is not None:
        return [name, "refused", "refused", "", ""]
    cells = [
        f"[bold]{name}[/]" if is_router else name,
        rate(policy.success.value),
        usd_per_thousand(policy.cost_usd_per_call.value),
    ]
    if is_router:
        return [*cells, "", ""]
    difference, ratio = policy.success_difference.interval, policy.cost_ratio.interval
    return [
        *cells,
        escape(f"{signed_points(difference.value)} {bounds(difference, 'points')}"),
        escape(share(ratio)),
    ]


def _lost_slices(result: Comparison) -> None:
    """Print the slices on which the router is shown to succeed less often, worst first."""
    lost = [one for one in result.slices if conclusion_of(one.success_difference) == "loss"]
    if not result.slices:
        return
    looks = f"of {len(result.slices)} slices, corrected for the number of looks"
    reference = shortened(result.reference, 40)
    if not lost:
        console.print(f"no slice is shown to lose success against {reference} ({looks})", markup=False)
        return
    console.print(f"shown to lose success against {reference} on {len(lost)} {looks}:", markup=False)
    grid = Table.grid(padding=(0, 2))
    for one in sorted(lost, key=lambda one: one.success_difference.interval.value):
        grid.add_row(*_slice_row(one))
    console.print(grid)


def _slice_row(one: SliceResult) -> list[str]:
    difference = one.success_difference.interval
    return [
        f"  {escape(one.dimension)}",
        escape(shortened(one.name or "none", 40)),
        f"{one.prompts:,} prompts",
        escape(f"{signed_points(difference.value)} points {bounds(difference, 'points')}"),
        p_value_text(one.success_difference.p_adjusted),
    ]
