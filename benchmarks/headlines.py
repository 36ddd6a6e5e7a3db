"""What `pointsman compare` says on thin logs, against the truth that they were drawn from.

    python -m benchmarks.headlines [--logs 500] [--out FILE]

Every log holds 20 to 1,000 calls, one a prompt, of 2 to 6 models, and its policy leans to some of them.
Counted are numbers that can't be, statements that rest on a refused estimate, and headlines that are wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.measuring import machine
from router.records import FloatArray, IntArray, Request
from training.comparing.comparison import Draws, compare_evaluated
from training.comparing.estimating.logged import Logged
from training.comparing.estimating.off_policy import study_of
from training.comparing.evaluated import Comparison, Evaluated, Provenance
from training.comparing.policies.baselines import TrainingStatistics, baselines_on
from training.comparing.report.record import comparison_record
from training.recommending import above, below
from training.statistics.intervals import Interval
from training.statistics.policy_curves import picked

KNOWN = (20, 50, 100, 300, 1_000)
"""Known outcomes of a log."""
MODELS = (2, 3, 4, 6)
POPULATION = 20_000
WORDS = {
    "success": ("more successful", "less successful"),
    "cost": ("dearer", "cheaper"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinLog:
    """A comparison on a log that was drawn, and the truth about its router.

    Attributes:
        success: the router's true success rate less the logging policy's.
        cost: the same of the mean cost, USD a call.
    """

    known: int
    comparison: Comparison
    success: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Prompts with the chance and the mean cost of every model, a router's choice, and the log's chances."""

    probability: FloatArray
    cost: FloatArray
    forecast: FloatArray
    expected: FloatArray
    chance: FloatArray
    topic: IntArray

    @property
    def choice(self) -> IntArray:
        """Column that the router takes."""
        return np.asarray((self.forecast - self.expected * 30).argmax(axis=1), dtype=np.int64)


def world_of(rng: np.random.Generator, n_models: int) -> World:
    """Models that differ in skill, price and topic; a router that knows part of it; a log that leans."""
    n, topic = POPULATION, rng.integers(0, 3, size=POPULATION)
    hard = rng.normal(size=n)
    skill = np.sort(rng.normal(0.7, 0.8, size=n_models))
    fit = rng.normal(0, 0.7, size=(3, n_models))
    logits = skill + fit[topic] - 0.8 * hard[:, None]
    probability = 1 / (1 + np.exp(-logits))
    price = np.sort(10 ** rng.uniform(-4, -1.5, size=n_models))
    cost = price * np.exp(0.5 * hard)[:, None]
    error = rng.normal(0, rng.choice([0.1, 0.6, 1.5]), size=(3, n_models))
    forecast = 1 / (1 + np.exp(-(logits + error[topic])))
    lean = rng.choice([0.3, 1.0, 2.0]) * rng.normal(size=n_models) + rng.choice([0.0, 0.8]) * (
        np.arange(n_models) * hard[:, None]
    )
    weights = np.exp(lean - lean.max(axis=1, keepdims=True))
    return World(
        probability=probability,
        cost=cost,
        forecast=forecast,
        expected=np.tile(price, (n, 1)),
        chance=weights / weights.sum(axis=1, keepdims=True),
        topic=topic,
    )


def thin_log(seed: int, *, known: int, n_models: int, draws: int = 500) -> ThinLog:
    """Draw a log and compare the router on it; every second log holds the chances of its policy."""
    rng = np.random.default_rng((seed, known, n_models))
    world = world_of(rng, n_models)
    rows = rng.choice(POPULATION, size=known, replace=False)
    called = (
        (rng.random(known)[:, None] > world.chance[rows].cumsum(axis=1)).sum(axis=1).clip(max=n_models - 1)
    )
    at = np.arange(n_models) == called[:, None]
    outcome = (rng.random(known)[:, None] < world.probability[rows]).astype(np.float64)
    paid = world.cost[rows] * rng.lognormal(-0.5, 1.0, size=(known, n_models))
    logged = Logged(
        models=tuple(f"model-{letter}" for letter in "abcdef"[:n_models]),
        calls=at.astype(np.int64),
        traffic=np.ones(known),
        success=np.where(at, outcome, np.nan),
        cost=np.where(at, paid, np.nan),
        propensity=np.where(at & (seed % 2 == 0), world.chance[rows], np.nan),
        clusters=np.arange(known),
        task_types=[f"topic {number}" for number in world.topic[rows]],
    )
    comparison = compare_evaluated(_evaluated(logged, world, rows), draws=Draws(number=draws, seed=seed))
    everyone = np.arange(POPULATION)
    return ThinLog(
        known=known,
        comparison=comparison,
        success=float(
            world.probability[everyone, world.choice].mean()
            - (world.chance * world.probability).sum(axis=1).mean()
        ),
        cost=float(
            world.cost[everyone, world.choice].mean() - (world.chance * world.cost).sum(axis=1).mean()
        ),
    )


def _evaluated(logged: Logged, world: World, rows: IntArray) -> Evaluated:
    tasks = list(logged.task_types)
    covariates = np.concatenate([world.forecast[rows], np.eye(3)[world.topic[rows]]], axis=1)
    study = study_of(logged, covariates)
    success, cost = np.nan_to_num(study.success.scores), np.nan_to_num(study.cost.scores)
    statistics = TrainingStatistics.of(logged.models, tasks, world.probability[rows], world.cost[rows])
    choice = world.choice[rows]
    return Evaluated(
        models=logged.models,
        keys=[f"{row:032x}" for row in range(len(rows))],
        requests=[Request.of(f"Question {row}?", task_type=task) for row, task in enumerate(tasks)],
        clusters=logged.clusters,
        traffic=logged.traffic,
        success=success,
        cost=cost,
        study=study,
        probability=world.forecast[rows],
        expected_cost=world.expected[rows],
        choice=choice,
        source=["learned"] * len(rows),
        confidence=picked(world.forecast[rows], choice),
        baselines=baselines_on(
            statistics, texts=["hi"] * len(rows), task_types=tasks, success=success, cost=cost
        ),
        others=(),
        provenance=Provenance(router_version="v1", data_digest="d1"),
    )


def impossible_numbers(comparison: Comparison) -> Iterator[str]:
    """Names of the numbers that can't be: success rates outside [0, 1], costs below 0."""
    policies = (comparison.router, *comparison.policies)
    rates: list[tuple[str, Interval]] = [(one.name, one.success) for one in policies]
    rates += [(f"aiq {one.name}", one.aiq) for one in comparison.curves]
    costs = [(f"cost {one.name}", one.cost_usd_per_call) for one in policies]
    for one in policies:
        if one.support is not None:
            rates += [(f"{one.name}, {name}", each) for name, each in one.support.estimates.items()]
            costs += [(f"{one.name}, {name}", each) for name, each in one.support.cost_estimates.items()]
    for name, interval in (*rates, *costs):
        most = 1.0 if (name, interval) in rates else math.inf
        if any(not 0 <= end <= most for end in _ends(interval)):
            yield name
    plain = [(f"{one.dimension} {one.name}", one.router_success) for one in comparison.slices]
    plain += [(f"{one.dimension} {one.name}", one.reference_success) for one in comparison.slices]
    plain += [
        (one.name, value) for one in comparison.curves for value in (*one.success, *one.success_ci_high)
    ]
    yield from (name for name, value in plain if math.isfinite(value) and not 0 <= value <= 1)
    yield from (one.name for one in comparison.curves if min(one.cost_usd_per_call) < 0)
    yield from (one.name for one in comparison.slices if one.router_cost_usd_per_call < 0)


def _ends(interval: Interval) -> list[float]:
    return [end for end in (interval.value, interval.low, interval.high) if math.isfinite(end)]


def unfounded(comparison: Comparison) -> Iterator[str]:
    """What is said although the estimate behind it is refused."""
    change, metrics = comparison.change, comparison_record(comparison).metrics
    for one in (comparison.router, *comparison.policies):
        refused = one.support is not None and one.support.refused is not None
        numbers = (
            one.success,
            one.cost_usd_per_call,
            one.success_difference.interval,
            one.cost_ratio.interval,
        )
        if refused and any(_ends(number) for number in numbers):
            yield f"a number of {one.name}"
        if refused and any(f".{one.name}" in name for name in metrics):
            yield f"a metric of {one.name}"
        against = [claim for claim in comparison.verdict if claim.against == one.name]
        if refused and any(claim.outcome != "undecided" for claim in against):
            yield f"a verdict on {one.name}"
    support = comparison.router.support
    if support is not None and support.refused is not None:
        yield from ("a headline" for each in (change.usd_per_1000, change.failures_per_1000) if _ends(each))
        yield from ("a verdict" for claim in comparison.verdict if claim.outcome != "undecided")
        yield from ("a curve" for one in comparison.curves if one.name == "learned policy")
        yield from ("a chart" for _ in comparison.calibration.bins[:1])
        if comparison.recommendation.code != "cannot_tell":
            yield "a recommendation"


def headlines(log: ThinLog) -> Iterator[tuple[str, bool]]:
    """Every word that the headline says, and whether it is true."""
    change = log.comparison.change
    for name, interval, truth in (
        ("success", change.failures_per_1000, -1000 * log.success),
        ("cost", change.usd_per_1000, 1000 * log.cost),
    ):
        if above(interval):
            yield WORDS[name][0 if name == "cost" else 1], truth > 0
        if below(interval):
            yield WORDS[name][1 if name == "cost" else 0], truth < 0


def settings(logs: int) -> Iterator[tuple[int, int, int]]:
    """Seed, known outcomes and models of each log, in turn."""
    for seed in range(logs):
        yield seed, KNOWN[seed % len(KNOWN)], MODELS[(seed // len(KNOWN)) % len(MODELS)]


def most_wrong(stated: int) -> float:
    """Highest count of wrong headlines at a rate of 5 %, with two standard errors on it."""
    return 0.05 * stated + 2 * math.sqrt(0.05 * 0.95 * stated)


def main(
    logs: Annotated[int, typer.Option(min=1, help="Number of logs.")] = 500,
    out: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("benchmarks/HEADLINES.md"),
) -> None:
    """Draw the logs, count, and write the table; exit code 1 if something is said that should not be."""
    bad: Counter[str] = Counter()
    rows: dict[int, Counter[str]] = {known: Counter() for known in KNOWN}
    codes: Counter[str] = Counter()
    for seed, known, n_models in settings(logs):
        log = thin_log(seed, known=known, n_models=n_models)
        bad.update(f"impossible: {name}" for name in impossible_numbers(log.comparison))
        bad.update(f"unfounded: {name}" for name in unfounded(log.comparison))
        codes[log.comparison.recommendation.code] += 1
        row, support = rows[known], log.comparison.router.support
        row["logs"] += 1
        row["refused"] += support is not None and support.refused is not None
        for _, true in headlines(log):
            row["stated"] += 1
            row["wrong"] += not true
    stated, wrong = (sum(row[name] for row in rows.values()) for name in ("stated", "wrong"))
    lines = [
        "# What the report says on thin logs",
        "",
        f"`python -m benchmarks.headlines --logs {logs}`, {datetime.now(UTC):%d %B %Y}, "
        f"{machine()['machine']}.",
        "",
        f"Impossible numbers or statements on a refused estimate: {sum(bad.values())}. Headlines: "
        f"{stated} stated, {wrong} wrong (5 % with two standard errors are {most_wrong(stated):.1f}). "
        f"Recommendations: {', '.join(f'{count} {code}' for code, count in codes.most_common())}.",
        "",
        "| known outcomes | logs | router refused | headlines stated | wrong |",
        "|---|---|---|---|---|",
        *(
            f"| {known:,} | {row['logs']} | {row['refused']} | {row['stated']} | {row['wrong']} |"
            for known, row in rows.items()
        ),
        "",
    ]
    out.write_text("\n".join(lines), encoding="utf-8")
    typer.echo("\n".join([*lines, *(f"{count} x {name}" for name, count in bad.most_common(20))]))
    if bad or wrong > most_wrong(stated):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
