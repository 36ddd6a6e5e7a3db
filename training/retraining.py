"""The routine of retraining: train a challenger, compare it, and promote it if all gates hold.

Every step leaves the registry whole, and the alias `champion` moves last: a run that is killed anywhere
leaves the champion serving, and the next run starts from the log again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from router.errors import ConfigError, NothingToJudge
from router.numbers import rate, signed_points
from router.records import Json
from router.settings.sections import Promotion
from router.version import Version
from training.comparing.comparison import USUAL_DRAWS, Draws
from training.comparing.evaluated import Comparison, PolicyResult
from training.comparing.job import CompareJob
from training.comparing.on_log import compare_on_log
from training.pipeline import Trained, TrainJob, train_on_log
from training.progress import Reporter
from training.recommending import ChangeAgainst, known, success_verdict, words_of
from training.statistics.policy_curves import ROUNDING
from training.tracking.versions import CHALLENGER, CHAMPION, RECOMMENDATION, RouterRegistry
from training.whole_file import write_whole

Outcome = Literal["promoted", "kept", "gates_failed"]
DECISION, REASONS = "retrain.decision", "retrain.reasons"
"""The tags of a version that hold the decision and its reasons."""
MOST_REASON = 2000
"""Characters of the reasons in the tag; the document has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainJob:
    """One run of the routine.

    Attributes:
        training: of the challenger; names the router to register.
        out: folder for the router, the report and the decision.
        first: promote the challenger without gates if there is no champion.
        command: command line that repeats the run, for the report.
    """

    training: TrainJob
    out: Path
    first: bool = False
    draws: Draws = field(default_factory=lambda: USUAL_DRAWS)
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate of the settings: whether it holds, and the figure with its limit."""

    name: str
    holds: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """The decision on a challenger.

    Attributes:
        decision: "promoted"; "kept": too few prompts to decide on; "gates_failed".
        against: what the challenger was compared with; empty if no prompt was new to both.
        champion: version that the alias points to now, or None.
        challenger: version that was trained.
        summary: one sentence.
    """

    name: str
    decision: Outcome
    champion: str | None
    challenger: str
    against: str
    summary: str
    gates: Sequence[GateResult]
    trained: Trained
    comparison: Comparison | None

    def to_json(self) -> dict[str, Json]:
        """What `pointsman retrain --json` prints, and `decision.json` holds."""
        gates = [{"name": one.name, "holds": one.holds, "reason": one.reason} for one in self.gates]
        return {
            "name": self.name,
            "decision": self.decision,
            "champion": self.champion,
            "challenger": self.challenger,
            "against": self.against,
            "summary": self.summary,
            "gates": gates,
            "prompts": self.comparison.prompts if self.comparison else 0,
            "method": self.comparison.method if self.comparison else None,
            "policy_version": self.trained.manifest["policy_version"],
            "warnings": list(self.trained.warnings),
        }

    def to_markdown(self) -> str:
        """The decision for people, as MLflow shows it beside the version."""
        gates = [f"| {one.name} | {'holds' if one.holds else 'fails'} | {one.reason} |" for one in self.gates]
        table = ["| gate | | why |", "|---|---|---|", *gates] if gates else []
        return "\n".join(
            [f"# {self.name}, version {self.challenger}: {self.decision}", "", self.summary, "", *table, ""]
        )


def retrain(job: RetrainJob, reporter: Reporter) -> Retrained:
    """Train a challenger, compare it on prompts new to it and the champion, and promote it if all gates hold.

    Without a champion, it is compared with what runs today: the logged policy, or the best single model.

    Raises:
        ConfigError: nothing is held out to compare on, or no name to register is given.
        RouterError: as `train` and `compare_on_log`, or somebody moved the champion meanwhile.
    """
    training, name = job.training, job.training.register
    config = training.reading.config
    if name is None or config.training.test_share == 0:
        raise ConfigError(
            f"retraining needs a registered name and held-out prompts, got {name!r} and training.test_share "
            f"{config.training.test_share:g}: give --register NAME and a share above 0"
        )
    trained = train_on_log(replace(training, out=job.out / "router", alias=CHALLENGER), reporter)
    registry, challenger = RouterRegistry(training.tracking_uri), str(trained.published.version)
    champion = registry.pointed(name, CHAMPION)
    try:
        comparison = _compared(job, name, challenger, champion, reporter)
        gates = list(gate_results(comparison, config.promotion))
    except NothingToJudge as error:
        comparison, gates = None, [GateResult(name="least_prompts", holds=False, reason=str(error))]
    decided = decision_of(gates, forced=job.first and champion is None)
    result = Retrained(
        name=name,
        decision=decided,
        champion=challenger if decided == "promoted" else champion,
        challenger=challenger,
        against=comparison.reference if comparison else "",
        summary=_summary(decided, comparison, champion, gates),
        gates=gates,
        trained=trained,
        comparison=comparison,
    )
    _keep(result, job.out, registry)
    if decided == "promoted":
        registry.move(name, CHAMPION, challenger, seen=champion)
    return result


def _compared(
    job: RetrainJob, name: str, challenger: str, champion: str | None, reporter: Reporter
) -> Comparison:
    """The challenger against the champion, on prompts that are new to both."""
    training = job.training
    routers = {f"models:/{name}/{challenger}": Version.load(job.out / "router", training.reading.config)}
    serving = None
    if champion is not None:
        serving = f"models:/{name}/{champion}"
        routers[serving] = RouterRegistry(training.tracking_uri).load(name, champion)
    compare_job = CompareJob(
        sources=training.sources,
        routers=routers,
        out=job.out / "report",
        reading=training.reading,
        today=serving,
        draws=job.draws,
        tracking_uri=training.tracking_uri,
        command=job.command,
    )
    return compare_on_log(compare_job, reporter)


def gate_results(comparison: Comparison, gates: Promotion) -> Iterator[GateResult]:
    """Every gate of the settings on a comparison; a figure that is unknown fails its gate."""
    today = today_of(comparison)
    success, ratio = today.success_difference.interval, today.cost_ratio.interval
    support = comparison.router.support or today.support
    refused = f" ({support.refused or support.cost_refused})" if support and support.cost_refused else ""
    yield GateResult(
        name="least_prompts",
        holds=comparison.clusters >= gates.least_prompts,
        reason=f"{comparison.clusters:,} independent prompts, {gates.least_prompts} are the least",
    )
    yield GateResult(
        name="max_quality_loss",
        holds=success.low >= -gates.max_quality_loss - ROUNDING,
        reason=(
            f"success {signed_points(success.value)} points, at worst {signed_points(success.low)}; "
            f"{signed_points(-gates.max_quality_loss)} is allowed{refused}"
            if known(success)
            else f"how success changes is unknown{refused}"
        ),
    )
    yield GateResult(
        name="min_saving",
        holds=1 - ratio.high >= gates.min_saving - ROUNDING,
        reason=(
            f"saves {rate(1 - ratio.value)} of the cost, at worst {rate(1 - ratio.high)}; "
            f"{rate(gates.min_saving)} is the least{refused}"
            if known(ratio)
            else f"how the cost changes is unknown{refused}"
        ),
    )
    worse = [
        f"{one.dimension} {one.name}"
        for one in comparison.slices
        if success_verdict(one.success_difference.interval, one.success_difference.p_adjusted)
        == "less successful"
    ]
    yield GateResult(
        name="worse_slices",
        holds=len(worse) <= gates.worse_slices,
        reason=f"{len(worse)} slices are less successful{': ' if worse else ''}{', '.join(worse)}; "
        f"{gates.worse_slices} are allowed",
    )
    error = comparison.calibration.expected_calibration_error
    yield GateResult(
        name="max_calibration_error",
        holds=error <= gates.max_calibration_error,
        reason=f"the confidence is off by {rate(error)} on average; "
        f"{rate(gates.max_calibration_error)} is allowed",
    )


def today_of(comparison: Comparison) -> PolicyResult:
    """The policy that runs today."""
    return next(one for one in comparison.policies if one.name == comparison.reference)


def decision_of(gates: Sequence[GateResult], *, forced: bool) -> Outcome:
    """What the gates decide: too few prompts decide nothing, whatever the other gates say.

    Args:
        forced: promote all the same.
    """
    failed = {gate.name for gate in gates if not gate.holds}
    if forced or not failed:
        return "promoted"
    return "kept" if "least_prompts" in failed else "gates_failed"


def _summary(
    decided: Outcome, comparison: Comparison | None, champion: str | None, gates: Sequence[GateResult]
) -> str:
    failed = [gate.name for gate in gates if not gate.holds]
    stays = "there is no champion" if champion is None else f"version {champion} stays the champion"
    start = {
        "promoted": "The challenger is the champion now"
        if not failed
        else "The first version is the champion now",
        "kept": f"Too few prompts to decide on: {stays}",
        "gates_failed": f"{', '.join(failed)} failed: {stays}",
    }[decided]
    if comparison is None:
        return f"{start}."
    today = today_of(comparison)
    change = ChangeAgainst(
        against=today.name,
        success=today.success_difference.interval,
        cost=today.cost_difference,
        usd_per_call=today.cost_usd_per_call.value,
    )
    return f"{start}. Against {today.name}, on {comparison.prompts:,} prompts: {words_of(change)}."


def _keep(result: Retrained, out: Path, registry: RouterRegistry) -> None:
    """Write the decision to the output folder and to the registry."""
    markdown = result.to_markdown()
    write_whole(out / "decision.json", json.dumps(result.to_json(), ensure_ascii=False, indent=2) + "\n")
    write_whole(out / "decision.md", markdown)
    tags = {DECISION: result.decision, REASONS: result.summary[:MOST_REASON]}
    if result.comparison is not None:
        tags[RECOMMENDATION] = result.comparison.recommendation.code
    run = result.trained.published.run_id
    registry.record(result.name, result.challenger, tags, run, {"decision.md": markdown})
