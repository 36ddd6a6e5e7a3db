"""The worth of a router that learned from one call per prompt, and from a replay of a tenth of the prompts.

    python -m benchmarks.partial_log --data FOLDER [--seeds 3] [--policy tilted] [--share 0.1] [--caution 0,1]

The folder holds `mixed_traffic.parquet` (see `benchmarks.quality`), a full matrix of outcomes. From each
fold's training prompts a log is drawn with one call a prompt; a router is trained on it, says which prompts a
replay should take, and is trained again with the outcomes of all models on those. The figure is the cost,
relative to the best single model, at which the router reaches that model's success, on forecasts for held-out
prompts.

With `--caution`, only the logs of one call a prompt are trained on, and each caution (`objective.caution`)
chooses its own weight on the same forecasts: how often does success then miss the best single model's by more
than a point, and at which cost?

Beside it stand the means per task type of the same log, at the weight that they would choose themselves.

Logging policies: `tilted` gives each model half the share of the next better one, and 5 % of the calls to all
alike (of six models: strongest 49 %, weakest 2 %); `strong` sends all but those 5 % to the best single model.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import platformdirs
import typer
from rich.console import Console

from benchmarks.quality import FOLDS, PUBLIC, load, machine
from router.deciding.policy import choose
from router.forecasting.encoder import Encoding
from router.models.prices import PriceTable
from router.records import BoolArray, FloatArray
from router.settings.sections import Config, Objective, Training
from training.comparing.policies.baselines import TrainingStatistics, mean_per_task_type, task_estimates
from training.learning.fitting import Fitted, fit
from training.learning.material import Material, material_of, usable_models
from training.learning.thresholds import choose_weight
from training.prompts.split import folds, split_groups
from training.prompts.table import PromptTable
from training.replaying.selection import (
    Selection,
    informative_sample,
    stratified_sample,
    value_of_information,
)
from training.statistics.policy_curves import cost_at_quality, cost_quality_curve, picked

EXPLORED = 0.05
LEAST_CALLS = 10
"""Known outcomes that a model needs here: under `strong` a model has some thirty calls."""
WAYS = ("one call a prompt", "and a replay, informative", "and a replay, random", "every outcome")
MEANS = "one call a prompt, means per task type"
console = Console(highlight=False)
Logging = Literal["tilted", "strong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Forecasts for held-out prompts; shape (n, n_models), and the column chosen at the published weight."""

    probability: FloatArray
    cost: FloatArray
    choice: FloatArray


def chances(table: PromptTable, policy: Logging) -> FloatArray:
    """Chance that the logging policy gives each model a prompt, shape (n_models,)."""
    better = np.argsort(np.argsort(table.success.mean(axis=0), kind="stable"), kind="stable")
    tilt = 2.0**better if policy == "tilted" else (better == better.max()).astype(np.float64)
    return np.asarray((1 - EXPLORED) * tilt / tilt.sum() + EXPLORED / len(tilt))


def drawn_log(table: PromptTable, policy: Logging, rng: np.random.Generator) -> BoolArray:
    """Which outcomes a log with one call a prompt holds, shape (n, n_models)."""
    chosen = rng.choice(len(table.models), size=len(table), p=chances(table, policy))
    return np.asarray(np.arange(len(table.models)) == chosen[:, None])


def only(table: PromptTable, known: BoolArray) -> PromptTable:
    """The table with these outcomes alone."""
    hidden = np.where(known, 0.0, np.nan)
    names = ("success", "score", "cost", "input_tokens", "output_tokens", "propensity")
    return replace(
        table,
        calls=np.where(known, table.calls, 0),
        **{name: getattr(table, name) + hidden for name in names},
    )


def trained(table: PromptTable, encodings: Sequence[Encoding], config: Config) -> tuple[Material, Fitted]:
    """A router on the models with enough outcomes."""
    usable, _ = usable_models(table, config)
    material = material_of(usable, encodings, config)
    groups, settings = usable.groups, config.training
    split = split_groups(
        groups,
        np.full(len(groups), np.nan),
        validation_share=settings.validation_share,
        test_share=0.0,
        seed=settings.seed,
    )
    return material, fit(material, split)


def forecast(
    material: Material,
    fitted: Fitted,
    table: PromptTable,
    encodings: Sequence[Encoding],
) -> Held:
    """What a router expects of some prompts; a model that it does not know is never chosen."""
    known = [table.models.index(model) for model in material.table.models]
    asked = material_of(table.columns(material.table.models), encodings, material.config, material.spec)
    outlook = fitted.head.predict(asked.features)
    prices = PriceTable.of([material.prices[model] for model in material.table.models])
    cost = prices.expected_cost(outlook.input_tokens, outlook.output_tokens)
    shape = (len(table), len(table.models))
    whole = Held(
        probability=np.zeros(shape), cost=np.full(shape, np.nanmax(cost)), choice=np.zeros(len(table))
    )
    whole.probability[:, known] = outlook.probability
    whole.cost[:, known] = cost
    whole.choice[:] = np.array(known)[choose(outlook.probability, cost, fitted.policy.weight)]
    return whole


def means(table: PromptTable, held: PromptTable) -> Held:
    """The baseline: what the means per task type of a log expect of some prompts."""
    types, asked = ([request.task_type for request in one.requests] for one in (table, held))
    statistics = TrainingStatistics.of(table.models, types, table.success, table.cost)
    probability, cost = task_estimates(statistics, asked)
    choice = mean_per_task_type(statistics, asked).astype(np.float64)
    return Held(probability=probability, cost=cost, choice=choice)


def selections(
    held: Held, known: BoolArray, table: PromptTable, weight: float, most: int, seed: int
) -> dict[str, Selection]:
    """The prompts that each way of replaying takes."""
    value = value_of_information(held.probability, held.cost, weight, ~known)
    types = [request.task_type or "" for request in table.requests]
    return {
        WAYS[1]: informative_sample(value, most, seed),
        WAYS[2]: stratified_sample(types, most, seed),
    }


def one_seed(
    table: PromptTable,
    encodings: Sequence[Encoding],
    seed: int,
    policy: Logging,
    share: float,
    config: Config,
) -> dict[str, Held]:
    """Held-out forecasts of every way, pooled over the folds."""
    shape = table.success.shape
    found = {
        way: Held(probability=np.zeros(shape), cost=np.zeros(shape), choice=np.zeros(len(table)))
        for way in (MEANS, *WAYS)
    }
    fold = folds(table.groups, FOLDS, seed)
    rng = np.random.default_rng([seed, 5])
    for number in range(FOLDS):
        began = time.perf_counter()
        inner, outer = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        learnt, texts = table.rows(inner), [encodings[row] for row in inner.tolist()]
        held, asked = table.rows(outer), [encodings[row] for row in outer.tolist()]
        known = drawn_log(learnt, policy, rng)
        material, fitted = trained(only(learnt, known), texts, config)
        expected = forecast(material, fitted, learnt, texts)
        most = round(share * len(learnt))
        chosen = selections(expected, known, learnt, fitted.policy.weight, most, seed)
        logs = {way: known | np.isin(np.arange(len(known)), one.rows)[:, None] for way, one in chosen.items()}
        logs[WAYS[3]] = np.ones_like(known)
        routers = {WAYS[0]: (material, fitted)}
        routers |= {way: trained(only(learnt, log), texts, config) for way, log in logs.items()}
        parts = {way: forecast(*router, held, asked) for way, router in routers.items()}
        parts[MEANS] = means(only(learnt, known), held)
        for way, part in parts.items():
            for name in ("probability", "cost", "choice"):
                getattr(found[way], name)[outer] = getattr(part, name)
        console.print(f"seed {seed}, fold {number}: {time.perf_counter() - began:.0f} s")
    return found


def cautious(
    table: PromptTable,
    encodings: Sequence[Encoding],
    seed: int,
    policy: Logging,
    cautions: Sequence[float],
    config: Config,
) -> FloatArray:
    """What each caution earns on one half of the prompts, after a log of the other half.

    Returns:
        Shape (2, n_cautions): success less the best single model's, and the share of its cost.
    """
    rng = np.random.default_rng([seed, 6])
    order = rng.permutation(len(table))
    inner, outer = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    learnt, held = table.rows(inner), table.rows(outer)
    log = only(learnt, drawn_log(learnt, policy, rng))
    material, fitted = trained(log, [encodings[row] for row in inner.tolist()], config)
    expected = forecast(material, fitted, held, [encodings[row] for row in outer.tolist()])
    weights = [choose_weight(fitted.backtest, Objective(caution=one)) for one in cautions]
    choices = [choose(expected.probability, expected.cost, weight) for weight in weights]
    best = int(table.success.mean(axis=0).argmax())
    lost = [float((picked(held.success, choice) - held.success[:, best]).mean()) for choice in choices]
    cost = [float(picked(held.cost, choice).mean() / held.cost[:, best].mean()) for choice in choices]
    return np.array([lost, cost])


def caution_report(found: Sequence[FloatArray], cautions: Sequence[float]) -> list[str]:
    """The markdown table: a line for each caution."""
    lines = [
        "| caution | success less the best's, points: mean (least) | misses by over a point | cost |",
        "|---|---|---|---|",
    ]
    for place, caution in enumerate(cautions):
        lost = 100 * np.array([one[0, place] for one in found])
        missed, cost = (lost < -1.0).mean(), np.mean([one[1, place] for one in found])
        lines.append(f"| {caution:g} | {lost.mean():+.2f} ({lost.min():+.1f}) | {missed:.0%} | {cost:.3f} |")
    return lines


def figures(held: Held, table: PromptTable) -> dict[str, float]:
    """Cost at the best single model's success; and success and cost at the weight that training chose.

    A router that reaches that success nowhere is worth no more than the model itself: 1.
    """
    success, cost = table.success, table.cost
    curve = cost_quality_curve(held.probability, held.cost, success, cost)
    best = int(success.mean(axis=0).argmax())
    choice = held.choice.astype(np.int64)
    reached = float(cost_at_quality(curve, success[:, best].mean()) / cost[:, best].mean())
    return {
        "cost at best": 1.0 if math.isnan(reached) else reached,
        "as published: cost": float(picked(cost, choice).mean() / cost[:, best].mean()),
        "as published: success less the best's, points": 100
        * float(picked(success, choice).mean() - success[:, best].mean()),
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder of the public call logs.")],
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    policy: Annotated[Logging, typer.Option(help="The logging policy.")] = "tilted",
    share: Annotated[float, typer.Option(help="Share of the prompts to replay.")] = 0.1,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "minilm",
    caution: Annotated[str, typer.Option(help="Comma-separated values of objective.caution.")] = "",
) -> None:
    """Measure and print."""
    training = {"encoder": encoder, "estimator": "success", "test_share": 0.0, "min_calls": LEAST_CALLS}
    config = Config(training=Training.model_validate(training))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    table, encodings = load(PUBLIC[0], data, config, cache)
    full = np.flatnonzero(np.isfinite(table.success).all(axis=1))
    table, encodings = table.rows(full), [encodings[row] for row in full.tolist()]
    if caution:
        cautions = [float(one) for one in caution.split(",")]
        runs = [cautious(table, encodings, seed, policy, cautions, config) for seed in range(seeds)]
        console.print(f"{machine()}; encoder {encoder}; {seeds} logs of one call a prompt: {policy}.\n")
        console.print("\n".join(caution_report(runs, cautions)), soft_wrap=True)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (MEANS, *WAYS)}
    for seed in range(seeds):
        for way, held in one_seed(table, encodings, seed, policy, share, config).items():
            found[way].append(figures(held, table))
            console.print(f"seed {seed}, {way}: {found[way][-1]}", soft_wrap=True)
    console.print("\n".join(report(found, policy, share, seeds)), soft_wrap=True)


def report(
    found: dict[str, list[dict[str, float]]], policy: Logging, share: float, seeds: int
) -> Sequence[str]:
    """The markdown table: mean over seeds and their range."""
    names = list(next(iter(found.values()))[0])
    lines = [
        f"{machine()}; {FOLDS} folds by prompt, {seeds} seeds; log: {policy}; {share:.0%} replayed.",
        "",
        f"| trained on | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for way, values in found.items():
        cells = []
        for name in names:
            numbers = np.array([one[name] for one in values])
            cells.append(f"{numbers.mean():.3f} ({numbers.min():.3f} to {numbers.max():.3f})")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
