"""Tables for people: what was read, trained, compared and decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.records import Json
from training.cleaning import TEXT_NOT_KEPT
from training.comparing.evaluated import Comparison, PolicyResult
from training.comparing.report import bounds, rate, relative, signed_points, usd_per_thousand
from training.log_file import OWN_LOG
from training.pipeline import Trained
from training.read_summary import ReadSummary

console = Console(highlight=False, emoji=False)


def reading(summary: ReadSummary, out: Path | None = None) -> None:
    """What was read from call logs, and what was not."""
    console.print(f"{summary.rows} rows in {len(summary.files)} file(s): {summary.calls} calls", end="")
    counts = {
        "rejected": summary.rejected,
        "repeat a call_id": summary.duplicates,
        "with a text cut short": summary.truncated,
        "repaired": summary.repaired,
        f"whose {TEXT_NOT_KEPT}": summary.without_text,
    }
    console.print("".join(f", {count} {what}" for what, count in counts.items() if count))
    foreign = [f"{count} of {name}" for name, count in summary.readers.items() if name != OWN_LOG]
    if foreign:
        console.print(f"  files read by format: {', '.join(foreign)}", markup=False)
    if summary.joined:
        console.print(f"  joined to another row: {summary.joined}")
    for reason, count in summary.set_apart.items():
        console.print(f"  set apart: {count} x {reason}", markup=False)
    for reject in summary.rejects:
        console.print(f"  rejected: {reject}", markup=False, soft_wrap=True)
    if summary.ignored_columns:
        console.print(f"  columns not used: {', '.join(summary.ignored_columns)}", markup=False)
    if out is not None:
        console.print(f"written: {out}", markup=False, soft_wrap=True)


def trained(result: Trained) -> None:
    """A training run: the data, the models, the estimators, and where the router is."""
    reading(result.reading)
    _models(result)
    _estimators(result)
    metrics, policy = result.manifest["metrics"], result.manifest["policy"]
    for warning in result.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    if "test" in metrics:
        test = metrics["test"]
        console.print(
            f"untouched test part, {test['prompts']:.0f} prompts: success {rate(test['success'])} at "
            f"{usd_per_thousand(test['cost_usd'])}; best single {rate(test['best_single_success'])} at "
            f"{usd_per_thousand(test['best_single_cost_usd'])}"
        )
    console.print(
        f"steps aside below confidence {policy['least_confidence']:.2f} or similarity "
        f"{policy['least_familiarity']:.2f}; {result.embedded} prompts embedded, the rest were cached"
    )
    version = f", version {result.published.version}" if result.published.version else ""
    console.print(f"MLflow run {result.published.run_id}{version} at {result.published.tracking_uri}")
    console.print(f"router {result.manifest['policy_version']} written: {result.out}", soft_wrap=True)


def comparison(result: Comparison, out: Path) -> None:
    """The verdict, losses first, and the table of policies."""
    for verdict in result.verdict:
        style = {"loss": "red", "win": "green"}.get(verdict.outcome, "yellow")
        console.print(f"[{style}]{verdict.outcome:>10}[/]  {escape(verdict.text)}", soft_wrap=True)
    table = Table(title=f"{result.prompts} prompts, {result.clusters} independent groups; 95 % intervals")
    table.add_column("policy")
    for column in (
        "success",
        "USD per 1k calls",
        f"cost vs {result.best_single}",
        "router's success, points",
    ):
        table.add_column(column, justify="right")
    for policy in (result.router, *result.policies):
        table.add_row(*_policy_row(policy, is_router=policy is result.router))
    console.print(table)
    for warning in result.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"written: {out / 'report.html'} and report.json", soft_wrap=True)


def decisions(rows: Sequence[tuple[Mapping[str, Json], Mapping[str, Json]]]) -> None:
    """Requests beside their decisions."""
    table = Table()
    for column in ("request", "task type", "model", "source", "confidence", "expected $ per 1k"):
        table.add_column(column, justify="right" if column[0] in "ce" else "left")
    for request, answer in rows:
        if "error" in answer:
            table.add_row(escape(str(request.get("id", ""))), "", escape(str(answer["error"])))
            continue
        usd = answer["expected_cost_usd"][answer["model"]]
        table.add_row(
            escape(str(request.get("id", ""))),
            escape(str(request.get("task_type") or "")),
            escape(answer["model"]),
            answer["source"],
            f"{answer['confidence']:.2f}",
            "unknown" if usd is None else f"{usd * 1000:.3f}",
        )
    console.print(table)


def _models(result: Trained) -> None:
    table = Table(title=f"{result.report['prompts']} prompts, {result.report['calls']} calls")
    table.add_column("model")
    for column in (
        "calls",
        "outcomes",
        "success",
        "cost",
        "label exact",
        "label upper bound",
        "dominated by",
    ):
        table.add_column(column, justify="right")
    for model, found in result.report["models"].items():
        success, cost = found["success_rate"], found["mean_cost_usd"]
        dominated = result.report["dominated"].get(model)
        table.add_row(
            escape(model),
            str(found["calls"]),
            str(found["known_outcomes"]),
            "unknown" if success is None else rate(success),
            "unknown" if cost is None else usd_per_thousand(cost),
            str(found["labels"]["exact"]),
            str(found["labels"]["upper bound"]),
            escape(dominated["by"]) if dominated else "",
        )
    console.print(table)
    status = ", ".join(f"{count} {name}" for name, count in result.report["label_status"].items())
    console.print(f"labels: {status}")


def _estimators(result: Trained) -> None:
    table = Table(title="estimators on the validation part")
    table.add_column("estimator")
    for column in ("regularisation", "cost at best", "value", "Brier", "ECE"):
        table.add_column(column, justify="right")
    for kind, candidate in result.fitted.candidates.items():
        name = f"{kind} (published)" if kind == result.fitted.published else kind
        scores = candidate.validation
        table.add_row(
            name,
            f"{candidate.setting.value:g}",
            relative(scores.get("cost_at_best", float("nan"))),
            f"{scores.get('decision_value', float('nan')):.4f}",
            f"{scores.get('brier', float('nan')):.4f}",
            f"{scores.get('calibration_error', float('nan')):.4f}",
        )
    console.print(table)


def _policy_row(policy: PolicyResult, *, is_router: bool) -> list[str]:
    success, cost, difference = policy.success, policy.cost_usd_per_call, policy.router_success_difference
    cells = [
        f"[bold]{escape(policy.name)}[/]" if is_router else escape(policy.name),
        f"{rate(success.value)}",
        usd_per_thousand(cost.value).removesuffix(" per 1k calls"),
        relative(policy.cost_relative_to_best_single.value),
    ]
    beside = "" if is_router else f"{signed_points(difference.value)} {bounds(difference, 'points')}"
    return [*cells, escape(beside)]
