"""How often the interval of an off-policy estimate holds the truth, over logs drawn from known outcomes."""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measuring import machine
from router.deciding.rules import heuristic_model
from router.records import FloatArray, IntArray
from router.settings.sections import HeuristicModels
from training.comparing.estimating.logged import Logged, chosen_shares
from training.comparing.estimating.off_policy import (
    DIRECT,
    DOUBLY_ROBUST,
    IPS,
    SNIPS,
    SWITCH,
    Study,
    study_of,
)
from training.comparing.estimating.support import cost_warnings, support_columns, support_of, support_warnings
from training.comparing.policies.baselines import TrainingStatistics, mean_per_task_type
from training.statistics.intervals import Interval, Sums, resampled_counts

if TYPE_CHECKING:
    import polars as pl

ESTIMATORS = (DOUBLY_ROBUST, DIRECT, IPS, SNIPS, SWITCH)
DRAWS = 500
ROWS = 2_000
RESAMPLES = 1_000
GOOD_OVERLAP = 0.1
"""Overlap is good if at most this share of the logs is refused or warned about."""
WORDS = 64
WEIGHT = 10.0
"""Of the stand-in for a router on cost, 1 / USD."""
FITTED_SHARE = 0.25
"""Part of the real prompts that the stand-in for a router and the means per task type are fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Prompts whose outcome, or the chance of it, is known for every model; logs are drawn from them.

    Attributes:
        name: of the data.
        models: names of the columns.
        probability: shape (n, m); chance of success, 0 or 1 where the outcome itself is known.
        cost: shape (n, m); mean USD a call.
        cost_noise: standard deviation of the logarithm of a call's cost around its mean.
        covariates: shape (n, p); what the estimators may use.
        length: shape (n,); standardised logarithm of the prompt's length, one of the covariates.
        strong: column of the strong model.
        heuristic: shape (n,); column that the keyword heuristic chooses.
        task_types: of each prompt.
        targets: policies to judge, by name; shape (n,), the column chosen.
        prompts: identifier of each prompt in its data; empty for synthetic ones.
    """

    name: str
    models: tuple[str, ...]
    probability: FloatArray
    cost: FloatArray
    cost_noise: float
    covariates: FloatArray
    length: FloatArray
    strong: int
    heuristic: IntArray
    task_types: Sequence[str]
    targets: Mapping[str, IntArray]
    prompts: Sequence[str] = ()


def synthetic(seed: int = 0, rows: int = 20_000) -> Population:
    """Four models whose chance of success falls with a prompt's length and its hidden difficulty.

    The outcome models are wrong on purpose: the chance is no linear function of the covariates. Costs have a
    heavy tail.
    """
    rng = np.random.default_rng(seed)
    length, topic = rng.normal(size=rows), rng.integers(0, 3, size=rows)
    skill, price = np.array([0.4, 0.8, 1.2, 1.8]), np.array([1e-4, 4e-4, 2e-3, 8e-3])
    fit = np.array([[0.8, 0.0, -0.8, 0.0], [-0.5, 0.5, 0.0, 0.3], [0.0, -0.5, 0.6, 0.0]])
    hidden = rng.normal(size=rows)
    logits = skill + fit[topic] - 0.7 * length[:, None] - 0.3 * length[:, None] ** 2 + 0.8 * hidden[:, None]
    probability = 1 / (1 + np.exp(-logits))
    cost = price * np.exp(0.6 * length)[:, None]
    topics = np.eye(3)[topic]
    guess = 1 / (1 + np.exp(-(skill + 0.8 * fit[topic] - 0.6 * length[:, None])))
    per_topic = np.stack([probability[topic == number].mean(axis=0) for number in range(3)])
    return Population(
        name="synthetic",
        models=("a", "b", "c", "d"),
        probability=probability,
        cost=cost,
        cost_noise=1.0,
        covariates=np.column_stack([guess, cost, length, topics]),
        length=length,
        strong=3,
        heuristic=np.where(length > 1.5, 3, 0),
        task_types=[f"topic {number}" for number in topic],
        targets={
            **_singles(("a", "b", "c", "d"), rows),
            "means per task type": np.argmax(per_topic - WEIGHT * price, axis=1)[topic],
            "router stand-in": np.argmax(guess - WEIGHT * cost, axis=1),
        },
    )


def mixed_traffic(path: Path) -> Population:
    """The real matrix; a quarter of the prompts is reserved to fit the router stand-in and the means."""
    import polars as pl

    return population_of(pl.read_parquet(path), "mixed_traffic")


def population_of(calls: pl.DataFrame, name: str) -> Population:
    """The population of a full matrix, in the columns of `mixed_traffic`."""
    import polars as pl

    frame = calls.sort("prompt_id", "model")
    models = tuple(frame["model"].unique().sort().to_list())
    first = frame.filter(pl.col("model") == models[0])
    success = frame["success"].cast(pl.Float64).to_numpy().reshape(-1, len(models))
    cost = frame["cost_usd"].to_numpy().reshape(-1, len(models))
    texts, task_types = first["prompt"].to_list(), first["task_type"].to_list()
    chosen = np.random.default_rng(0).permutation(len(texts))
    fitted, kept = np.split(chosen, [int(FITTED_SHARE * len(texts))])
    features, length = _features(texts, task_types)
    guess = np.clip(_ridge(features, success, fitted, 30.0), 0.01, 0.99)
    expected = np.maximum(_ridge(features, cost, fitted, 30.0), 1e-6)
    types = [task_types[row] for row in kept]
    statistics = TrainingStatistics.of(
        models, [task_types[row] for row in fitted], success[fitted], cost[fitted]
    )
    strong, cheap = int(np.argmax(statistics.success)), int(np.argmin(statistics.cost))
    tiers = HeuristicModels(strong=models[strong], middle="gpt-4o-2024-05-13", cheap=models[cheap])
    heuristic = [models.index(heuristic_model(texts[row], tiers)) for row in kept]
    structure = features[:, WORDS:]
    return Population(
        name=name,
        models=models,
        probability=success[kept],
        cost=cost[kept],
        cost_noise=0.0,
        covariates=np.column_stack([guess, expected, structure])[kept],
        length=length[kept],
        strong=strong,
        heuristic=np.array(heuristic, dtype=np.int64),
        task_types=types,
        targets={
            **_singles(models, len(kept)),
            "means per task type": mean_per_task_type(statistics, types),
            "router stand-in": np.argmax(guess - WEIGHT * expected, axis=1)[kept],
        },
        prompts=[first["prompt_id"][int(row)] for row in kept],
    )


def _singles(models: Sequence[str], rows: int) -> dict[str, IntArray]:
    return {f"always {model}": np.full(rows, column) for column, model in enumerate(models)}


def _features(texts: Sequence[str], task_types: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Hashed words, then structure and task type; and the standardised logarithm of the length."""
    words = np.zeros((len(texts), WORDS))
    for row, text in enumerate(texts):
        for word in text.lower().split():
            words[row, zlib.crc32(word.encode()) % WORDS] += 1
    length = np.log([len(text) for text in texts])
    length = (length - length.mean()) / length.std()
    shape = [[text.count("\n"), sum(map(str.isdigit, text)), text.count("(")] for text in texts]
    types = sorted(set(task_types))
    one_hot = np.array([[name == one for one in types] for name in task_types], dtype=np.float64)
    return np.column_stack([np.log1p(words), length, np.log1p(np.array(shape)), one_hot]), length


def _ridge(features: FloatArray, targets: FloatArray, rows: IntArray, penalty: float) -> FloatArray:
    """Predictions for all rows by a ridge regression on some."""
    centre = features[rows].mean(axis=0)
    x, mean = features[rows] - centre, targets[rows].mean(axis=0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (targets[rows] - mean))
    return np.asarray((features - centre) @ weights + mean)


def uniform(population: Population) -> FloatArray:
    """All models equally likely."""
    n, m = population.probability.shape
    return np.full((n, m), 1 / m)


def tilted(population: Population) -> FloatArray:
    """Half of the calls to the strong model, the rest to all alike."""
    return _explored(np.full(len(population.length), population.strong), 0.5, population)


def by_heuristic(population: Population) -> FloatArray:
    """The keyword heuristic's choice, but 5 % of the calls to all models alike."""
    return _explored(population.heuristic, 0.05, population)


def by_length(population: Population) -> FloatArray:
    """The longer the prompt, the dearer the model."""
    return _by_length(population, 0.5)


def steeply_by_length(population: Population) -> FloatArray:
    """As `by_length`, until short prompts hardly meet the dear models."""
    return _by_length(population, 2.0)


def by_long_or_short(population: Population) -> FloatArray:
    """Long prompts mostly to the strong model, by a step that the propensity model can't draw."""
    likely = uniform(population)
    long = population.length > np.median(population.length)
    likely[long] = tilted(population)[long]
    return likely


def _explored(choice: IntArray, rate: float, population: Population) -> FloatArray:
    m = population.probability.shape[1]
    return np.asarray((1 - rate) * chosen_shares(choice, m) + rate / m, dtype=np.float64)


def _by_length(population: Population, slope: float) -> FloatArray:
    rank = np.argsort(np.argsort(population.cost.mean(axis=0)))
    lean = np.linspace(-1, 1, len(rank))[rank]
    logits = np.exp(slope * population.length[:, None] * lean)
    return np.asarray(logits / logits.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way in which logs come about; `logged`: whether they hold the propensities."""

    name: str
    policy: Callable[[Population], FloatArray]
    logged: bool


SETTINGS = (
    Setting(name="uniform", policy=uniform, logged=True),
    Setting(name="tilted to strong", policy=tilted, logged=True),
    Setting(name="tilted to strong", policy=tilted, logged=False),
    Setting(name="heuristic, 5 % exploration", policy=by_heuristic, logged=True),
    Setting(name="by length", policy=by_length, logged=False),
    Setting(name="by long or short", policy=by_long_or_short, logged=False),
    Setting(name="steeply by length", policy=steeply_by_length, logged=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """The estimates from one log for one target.

    Attributes:
        refused: whether no number is given.
        warned: whether one is given with a warning.
        cost_warned: whether costs are given with a warning of their own.
        success: interval by estimator; empty where refused.
        cost: doubly robust interval; None where refused.
    """

    refused: bool
    warned: bool
    cost_warned: bool
    effective_sample_size: float
    success: Mapping[str, Interval]
    cost: Interval | None


def drawn_log(
    population: Population, setting: Setting, rng: np.random.Generator, rows: int
) -> tuple[Logged, IntArray]:
    """A log of `rows` prompts drawn with replacement, one call each, and which prompts they are."""
    picked = rng.integers(0, len(population.length), size=rows)
    chance = setting.policy(population)[picked]
    taken = (rng.random((rows, 1)) > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)
    called = chosen_shares(taken, chance.shape[1])
    succeeded = (rng.random(chance.shape) < population.probability[picked]).astype(np.float64)
    noise = rng.normal(-0.5 * population.cost_noise**2, population.cost_noise, size=chance.shape)
    unknown = np.where(called > 0, 0.0, np.nan)
    return Logged(
        models=population.models,
        calls=called.astype(np.int64),
        traffic=np.ones(rows),
        success=succeeded + unknown,
        cost=population.cost[picked] * np.exp(noise) + unknown,
        propensity=chance + unknown if setting.logged else np.full(chance.shape, np.nan),
        clusters=np.arange(rows, dtype=np.int64),
        task_types=[population.task_types[row] for row in picked],
    ), picked


def draws_of(
    population: Population, setting: Setting, *, draws: int, rows: int, seed: int
) -> Iterator[dict[str, Draw]]:
    """The estimates from each drawn log for every target."""
    # The same resamples for every log: making them is most of the work.
    counts = np.concatenate(list(resampled_counts(rows, n_resamples=RESAMPLES, seed=seed)))
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        logged, picked = drawn_log(population, setting, rng, rows)
        study = study_of(logged, population.covariates[picked], seed=number)
        targets = {name: choice[picked] for name, choice in population.targets.items()}
        yield _judged(study, targets, counts)


def _judged(study: Study, targets: Mapping[str, IntArray], counts: FloatArray) -> dict[str, Draw]:
    shares = {name: chosen_shares(choice, len(study.logged.models)) for name, choice in targets.items()}
    columns = np.concatenate([support_columns(study, one) for one in shares.values()], axis=1)
    total, resampled = columns.sum(axis=0), counts @ columns
    width = columns.shape[1] // len(shares)
    found = {}
    for number, (name, one) in enumerate(shares.items()):
        place = slice(number * width, (number + 1) * width)
        support = support_of(study, one, Sums(total=total[place], draws=resampled[:, place]))
        found[name] = Draw(
            refused=support.refused is not None,
            warned=bool(support_warnings(study, one, support)),
            cost_warned=bool(cost_warnings(study, one, support)),
            effective_sample_size=support.effective_sample_size,
            success=support.estimates,
            cost=support.cost_estimates.get(DOUBLY_ROBUST),
        )
    return found


def summary(truth: float, intervals: Sequence[Interval]) -> dict[str, float]:
    """Mean, bias, root mean squared error and coverage of one estimator; NaN without an interval.

    An impossible estimate, such as a success over 100 %, is no number, and counts in none of them.
    """
    given = [one for one in intervals if np.isfinite(one.value)]
    if not given:
        return dict.fromkeys(("mean", "bias", "rmse", "coverage", "error"), float("nan"))
    values = np.array([one.value for one in given])
    covered = np.mean([one.low <= truth <= one.high for one in given])
    return {
        "mean": float(values.mean()),
        "bias": float(values.mean() - truth),
        "rmse": float(np.sqrt(np.mean((values - truth) ** 2))),
        "coverage": float(covered),
        "error": float(np.sqrt(covered * (1 - covered) / len(values))),
    }


def good_overlap(row: Mapping[str, Any]) -> bool:
    """Whether nearly all logs support the target without a warning."""
    return bool(row["refused"] + row["warned"] <= GOOD_OVERLAP)


def rows_of(
    population: Population, setting: Setting, *, draws: int, rows: int, seed: int
) -> list[dict[str, Any]]:
    """One row of the table per target."""
    found = list(draws_of(population, setting, draws=draws, rows=rows, seed=seed))
    table = []
    everyone = np.arange(len(population.length))
    for name, choice in population.targets.items():
        given = [draw[name] for draw in found if not draw[name].refused]
        truth = float(population.probability[everyone, choice].mean())
        paid = float(population.cost[everyone, choice].mean())
        table.append(
            {
                "data": population.name,
                "logging": setting.name,
                "propensities": "logged" if setting.logged else "estimated",
                "target": name,
                "truth": truth,
                "refused": float(np.mean([draw[name].refused for draw in found])),
                "warned": float(np.mean([draw[name].warned for draw in found])),
                "cost_warned": float(np.mean([draw[name].cost_warned for draw in found])),
                "effective_sample_size": float(np.mean([d[name].effective_sample_size for d in found])),
                **{
                    estimator: summary(truth, [draw.success[estimator] for draw in given])
                    for estimator in ESTIMATORS
                },
                "cost": summary(paid, [draw.cost for draw in given if draw.cost]),
                "cost_truth": paid,
            }
        )
    return table


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; coverage in percent with its binomial standard error."""
    head = ["data", "logging policy", "propensities", "target", "truth", "mean", "bias", "RMSE", "coverage"]
    head += ["refused", "warned", "sample", *(f"{name}: RMSE, coverage" for name in ESTIMATORS[1:])]
    head += ["cost: bias, RMSE, coverage, warned"]
    lines = [head, ["---"] * len(head), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    robust, cost, paid = row[DOUBLY_ROBUST], row["cost"], row["cost_truth"]
    return [
        *(str(row[name]) for name in ("data", "logging", "propensities", "target")),
        *(f"{value:.3f}" for value in (row["truth"], robust["mean"])),
        *(f"{value:.4f}" for value in (robust["bias"], robust["rmse"])),
        f"{_percent(robust)} ± {100 * robust['error']:.1f}",
        *(f"{100 * row[name]:.0f} %" for name in ("refused", "warned")),
        f"{row['effective_sample_size']:.0f}",
        *(f"{row[name]['rmse']:.4f}, {_percent(row[name])}" for name in ESTIMATORS[1:]),
        f"{100 * cost['bias'] / paid:+.1f} %, {100 * cost['rmse'] / paid:.1f} %, {_percent(cost)}, "
        f"{100 * row['cost_warned']:.0f} %",
    ]


def _percent(found: Mapping[str, float]) -> str:
    return f"{100 * found['coverage']:.1f}"


def verdict(rows: Sequence[Mapping[str, Any]], draws: int) -> str:
    """Coverage where overlap is good, and the rows that leave 93 to 97 % by more than chance."""
    good = [row for row in rows if good_overlap(row)]
    if not good:
        return f"good overlap in none of {len(rows)} rows"
    chance = 2 * np.sqrt(0.95 * 0.05 / draws)
    covered = np.array([row[DOUBLY_ROBUST]["coverage"] for row in good])
    outside = [
        f"{row['data']}, {row['logging']} ({row['propensities']}), {row['target']}: "
        f"{_percent(row[DOUBLY_ROBUST])}"
        for row in good
        if abs(row[DOUBLY_ROBUST]["coverage"] - 0.95) > 0.02 + chance
    ]
    costs = np.array([row["cost"]["coverage"] for row in good])
    return (
        f"Overlap is good (at most {100 * GOOD_OVERLAP:.0f} % of the logs refused or warned about) in "
        f"{len(good)} of {len(rows)} rows. The doubly robust interval of success holds the truth in "
        f"{_average(covered)} % by row; that of cost in {_average(costs)} %. "
        f"Outside of 93 to 97 % by more than two binomial errors: {'; '.join(outside) or 'none'}."
    )


def _average(shares: FloatArray) -> str:
    low, high = 100 * shares.min(), 100 * shares.max()
    return f"{100 * shares.mean():.1f} % on average, {low:.1f} to {high:.1f}"


def main() -> None:
    """Draw the logs, and print the table with what it was measured on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="mixed_traffic.parquet; without it synthetic data only")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--rows", type=int, default=ROWS, help="prompts in each log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the table, as Markdown")
    given = parser.parse_args()
    began = time.process_time()
    populations = [synthetic(), *([mixed_traffic(given.data)] if given.data else [])]
    rows = []
    for population in populations:
        for setting in SETTINGS:
            rows += rows_of(population, setting, draws=given.draws, rows=given.rows, seed=given.seed)
            print(f"{time.process_time() - began:.0f} s: {population.name}, {setting.name}", file=sys.stderr)
    where = machine()
    place = "; ".join(f"{name} {where[name]}" for name in ("machine", "system", "python", "numpy"))
    text = "\n\n".join(
        [
            f"{given.draws} logs of {given.rows} prompts, one call each, {RESAMPLES} resamples, seed "
            f"{given.seed}; {datetime.now(UTC):%Y-%m-%d}; {place}; {time.process_time() - began:.0f} s",
            table_of(rows),
            verdict(rows, given.draws),
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
