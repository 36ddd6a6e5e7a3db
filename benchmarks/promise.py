"""Is the promised loss of success kept: re-splits of call logs with a full matrix, and whole training runs.

    python -m benchmarks.promise [--data FOLDER] [--times 200] [--trainings 200] [--only NAME] [--out FILE]

With `--data`, the folder holds the call logs that `benchmarks.quality` takes; without it, the bundled sample
is used. It answers three questions on each data set, for a loss of 0.02 and of 0.05 at a confidence of 95 %.

- Re-splits: forecasts for every prompt come from 5 folds, once. Each re-split draws a calibration part,
  chooses the weight on it, and takes the loss on all others. That loss has the noise of those prompts: it may
  exceed the promise more often than in 5 % of the times: beside the raw share stands the share that normal
  theory gives a weight whose true loss is exactly the promised one, and the share in which the loss is beyond
  the promise by more than 1.645 standard errors of the other prompts.
- Draws: the data set is the population, calibration prompts are drawn from it with replacement, and the loss
  is that on the whole: the true one, without noise. Here the limit is 5 %, and all that is added is the error
  of so many draws.
- Trainings: a part of the prompts is the whole log of a training run; the weight is promised on its
  cross-fitted forecasts, as `pointsman train` does, and the published head routes all other prompts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console
from rich.progress import track
from scipy.stats import binom, norm

from benchmarks.measuring import machine
from benchmarks.quality import PUBLIC, SAMPLE, Dataset, cross_validate, load
from router.forecasting.encoder import Encoding
from router.models.prices import PriceTable
from router.records import FloatArray, IntArray
from router.settings.sections import Config, Objective, Training
from training.learning.fitting import fit
from training.learning.material import material_of
from training.learning.thresholds import Backtest, choose_weight, guarantee_of
from training.prompts.split import split_groups
from training.prompts.table import PromptTable
from training.statistics.policy_curves import picked, policy_path
from training.statistics.quality_guarantee import Test, Trial, gaffke_p_value, guaranteed_weight, t_p_value

LOSSES = (0.02, 0.05)
CONFIDENCE = 0.95
PARTS = (0.2, 0.5)
"""Calibration part of the prompts."""
MOST_STAKE = 0.9
"""Of the capital, in the comparison's betting test."""
CHEAP_CALL = 1e-3
"""Cost of the weak model's call where only the strong one's is counted."""
MOST_TRAINED = 2_000
console = Console(highlight=False, soft_wrap=True)
progress = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One chosen weight on the prompts that did not choose it.

    Attributes:
        weight: None where none was safe: every prompt then goes to the best single model.
        loss: best single model's success less the policy's.
        error: standard error of the loss; 0 on a whole population.
        cost: relative to the best single model's.
    """

    weight: float | None
    loss: float
    error: float
    cost: float


def betting_p_value(excess: FloatArray, most: float) -> float:
    """Of "the mean is 0 or more", by betting against it: proven, but wider.

    Predictable plug-in bets for a fixed number of values (Waudby-Smith & Ramdas 2023), in the given
    order, which is random.
    """
    z = excess / most
    n = len(z)
    seen = np.append(0.0, np.cumsum(np.square(z))[:-1])
    spread = (0.25 + seen) / np.arange(1, n + 1)
    bet = np.minimum(np.sqrt(2 * np.log(1 / (1 - CONFIDENCE)) / (n * spread)), MOST_STAKE)
    return float(min(1.0, np.exp(-np.cumsum(np.log1p(-bet * z)).max())))


OURS: Mapping[str, Test] = {"Gaffke (ours)": gaffke_p_value}
TESTS: Mapping[str, Test] = {**OURS, "betting": betting_p_value, "t": t_p_value}


def outcome_of(trial: Trial, weight: float | None, *, whole: bool) -> Outcome:
    """Success and cost of a weight on some prompts."""
    best = int(trial.success.mean(axis=0).argmax())
    if weight is None:
        return Outcome(weight=None, loss=0.0, error=0.0, cost=1.0)
    choice = policy_path(trial.probability, trial.expected_cost).at(weight)
    behind = trial.success[:, best] - picked(trial.success, choice)
    return Outcome(
        weight=weight,
        loss=float(behind.mean()),
        error=0.0 if whole else float(behind.std() / np.sqrt(len(behind))),
        cost=float(picked(trial.cost, choice).mean() / trial.cost[:, best].mean()),
    )


def by_objective(trial: Trial) -> float:
    """The weight that the objective without a promise takes."""
    judged = Backtest.of(trial.probability, trial.expected_cost, trial.success, trial.cost)
    return choose_weight(judged, Objective())


def by_promise(max_loss: float, test: Test) -> Callable[[Trial], float | None]:
    """The weight that a promise takes."""
    return lambda trial: guaranteed_weight(trial, max_loss=max_loss, confidence=CONFIDENCE, test=test).weight


def resplits(trial: Trial, share: float, times: int) -> Iterator[tuple[Trial, Trial]]:
    """Calibration part and rest, drawn without replacement."""
    size = round(share * len(trial))
    for seed in range(times):
        order = np.random.default_rng(seed).permutation(len(trial))
        yield trial.rows(order[:size]), trial.rows(order[size:])


def draws(trial: Trial, share: float, times: int) -> Iterator[tuple[Trial, Trial]]:
    """Calibration prompts drawn with replacement, each a prompt of its own, and the population."""
    size = round(share * len(trial))
    for seed in range(times):
        rows = np.random.default_rng(seed).integers(0, len(trial), size)
        yield replace(trial.rows(rows), clusters=np.arange(size)), trial


def line(name: str, max_loss: float, found: list[Outcome], noise: float) -> str:
    """One row of the table; `noise`: the test part's error variance over that of the calibration part."""
    n = len(found)
    loss = np.array([one.loss for one in found])
    beyond = np.array([one.loss - norm.ppf(CONFIDENCE) * one.error > max_loss for one in found])
    at_edge = norm.sf(norm.ppf(CONFIDENCE) / np.sqrt(1 + noise))
    most = binom.ppf(0.975, n, at_edge) / n
    columns = [
        f"{name}, {max_loss:g}",
        str(n),
        f"{np.mean([one.weight is None for one in found]):.1%}",
        f"{(loss > max_loss).mean():.1%}",
        f"{at_edge:.1%} (up to {most:.1%})",
        f"{beyond.mean():.1%}",
        f"{loss.mean():+.4f}",
        f"{np.mean([one.cost for one in found]):.3f}",
    ]
    return f"| {' | '.join(columns)} |"


HEADER = [
    "| how, promised loss | times | no safe weight | loss seen above it | in theory at the limit, at most "
    "| above it beyond the test part's noise | mean loss | cost over best single's |",
    "|---|---|---|---|---|---|---|---|",
]


def study(trial: Trial, times: int) -> list[str]:
    """Re-splits and draws of one data set."""
    lines = []
    for share in PARTS:
        size, noise = round(share * len(trial)), share / (1 - share)
        for max_loss in LOSSES:
            for name, test in (TESTS if share == PARTS[0] else OURS).items():
                found = chosen(resplits(trial, share, times), by_promise(max_loss, test), whole=False)
                lines.append(line(f"re-split, {size} calibrate, {name}", max_loss, found, noise))
            found = chosen(draws(trial, share, times), by_promise(max_loss, gaffke_p_value), whole=True)
            lines.append(line(f"draw, {size} calibrate, Gaffke (ours)", max_loss, found, 0.0))
        found = chosen(resplits(trial, share, times), by_objective, whole=False)
        lines.append(line(f"re-split, {size} calibrate, no promise", LOSSES[0], found, noise))
    return lines


def chosen(
    pairs: Iterator[tuple[Trial, Trial]], choose: Callable[[Trial], float | None], *, whole: bool
) -> list[Outcome]:
    """What the weight that each calibration part chooses does on the prompts beside it."""
    return [outcome_of(rest, choose(part), whole=whole) for part, rest in pairs]


def trained(
    table: PromptTable, encodings: Sequence[Encoding], config: Config, rows: IntArray, rest: IntArray
) -> tuple[Backtest, IntArray, Trial]:
    """A whole training run: its cross-fitted forecasts, their sessions, and its head's on other prompts."""
    material = material_of(table.rows(rows), [encodings[row] for row in rows.tolist()], config)
    groups = material.table.groups
    share, unknown = config.training.validation_share, np.full(len(groups), np.nan)
    fitted = fit(material, split_groups(groups, unknown, validation_share=share, test_share=0.0, seed=0))
    held = material_of(table.rows(rest), [encodings[row] for row in rest.tolist()], config, material.spec)
    outlook = fitted.head.predict(held.features)
    prices = PriceTable.of([material.prices[model] for model in table.models])
    trial = Trial(
        probability=outlook.probability,
        expected_cost=prices.expected_cost(outlook.input_tokens, outlook.output_tokens),
        success=held.table.success,
        cost=held.table.cost,
        clusters=held.table.groups,
        traffic=np.ones(len(held.table)),
    )
    return fitted.backtest, groups[fitted.backtest.rows], trial


def trainings(
    table: PromptTable, encodings: Sequence[Encoding], config: Config, size: int, times: int
) -> list[str]:
    """Whole training runs on parts of one data set."""
    found: dict[float, list[Outcome]] = {max_loss: [] for max_loss in LOSSES}
    for seed in track(range(times), description=f"trainings on {size}", console=progress):
        order = np.random.default_rng(seed).permutation(len(table))
        judged, groups, rest = trained(table, encodings, config, np.sort(order[:size]), np.sort(order[size:]))
        for max_loss in LOSSES:
            objective = Objective(max_quality_loss=max_loss, confidence=CONFIDENCE)
            promise = guarantee_of(judged, objective, groups, np.ones(len(judged)))
            assert promise is not None
            found[max_loss].append(outcome_of(rest, promise.weight, whole=False))
    noise = size / (len(table) - size)
    name = f"trained on {size}, {config.training.estimator}"
    return [line(name, max_loss, outcomes, noise) for max_loss, outcomes in found.items()]


def trial_of(table: PromptTable, encodings: Sequence[Encoding], config: Config, dataset: Dataset) -> Trial:
    """A data set's forecasts from five folds; where costs are unknown, a call of the strong model costs 1."""
    pooled = cross_validate(table, encodings, 0, config)
    expected, cost = pooled.expected_cost, pooled.prompts.cost
    if dataset.pair is not None:
        expected = np.full_like(cost, CHEAP_CALL)
        expected[:, table.models.index(dataset.pair[1])] = 1.0
        cost = expected
    return Trial(
        probability=pooled.probability,
        expected_cost=expected,
        success=pooled.prompts.success,
        cost=cost,
        clusters=pooled.prompts.groups,
        traffic=np.ones(len(pooled.prompts)),
    )


def measured(dataset: Dataset, folder: Path, config: Config, times: int, runs: int) -> list[str]:
    """The table of one data set."""
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    table, encodings = load(dataset, folder, config, cache)
    rows = study(trial_of(table, encodings, config, dataset), times)
    if runs and dataset.pair is None:
        full = np.flatnonzero(np.isfinite(table.success).all(axis=1) & np.isfinite(table.cost).all(axis=1))
        of_full = [encodings[row] for row in full.tolist()]
        rows += trainings(table.rows(full), of_full, config, min(len(full) // 3, MOST_TRAINED), runs)
    return ["", f"**{dataset.name}**: {len(table)} prompts, {len(table.models)} models", "", *HEADER, *rows]


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the public call logs.")] = None,
    times: Annotated[int, typer.Option(min=1, help="Re-splits and draws of each data set.")] = 200,
    runs: Annotated[int, typer.Option("--trainings", min=0, help="Training runs of each data set.")] = 200,
    estimator: Annotated[str, typer.Option(help="auto, success or label.")] = "success",
    only: Annotated[str, typer.Option(help="Part of a data set's name.")] = "",
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Measure, print, and write the tables."""
    folder = data or Path(__file__).parent.parent / "data"
    config = Config(training=Training.model_validate({"estimator": estimator, "test_share": 0.0}))
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}; " + "; ".join(f"{name} {value}" for name, value in machine().items())
    ]
    for dataset in (PUBLIC[0], PUBLIC[1], PUBLIC[4]) if data else SAMPLE:
        if only in dataset.name:
            lines += measured(dataset, folder, config, times, runs)
    console.print("\n".join(lines))
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
