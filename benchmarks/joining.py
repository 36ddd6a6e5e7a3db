"""How many replayed prompts a model needs to join a router: each model hidden in turn, and added again.

    python -m benchmarks.joining --data FOLDER [--draws 3] [--only mixed_traffic]

The folder holds `mixed_traffic.parquet` and `mmlu_pro.parquet` (see `benchmarks.quality`). A router is fitted
on 70 % of the prompts without one model's outcomes; the model joins it from a random draw of them, by task
type. The figures are of the other 30 %: cost at the best single model's success as a share of that model's
cost (1 where it is reached nowhere), and success and cost at the weight that the router came with. Beside it
stands a router fitted on every outcome of every model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console

from benchmarks.partial_log import Held, figures, forecast, trained
from benchmarks.quality import PUBLIC, Dataset, load, machine
from router.deciding.policy import choose
from router.forecasting.encoder import Encoding
from router.forecasting.head import Head
from router.models.prices import PriceTable
from router.records import IntArray
from router.settings.sections import Config, Training
from training.learning.fitting import Fitted
from training.learning.joining import NewcomerOutcomes, with_model
from training.learning.material import Material, material_of
from training.prompts.pricing import logged_prices
from training.prompts.split import folds
from training.prompts.table import PromptTable
from training.replaying.selection import stratified_sample
from training.statistics.policy_curves import expected_calibration_error, picked

SIZES = (0, 50, 100, 200, 300, None)
"""Replayed prompts; 0: the router without the model; None: all."""
console = Console(highlight=False)


def held_out(
    head: Head, material: Material, models: Sequence[str], prices: PriceTable, weight: float, held: Material
) -> Held:
    """A router's forecasts of the held-out prompts, with columns in the order of the table's models."""
    outlook = head.predict(held.features)
    order = [models.index(model) for model in held.table.models]
    cost = prices.expected_cost(outlook.input_tokens, outlook.output_tokens)[:, order]
    probability = outlook.probability[:, order]
    choice = choose(probability, cost, weight).astype(np.float64)
    return Held(probability=probability, cost=cost, choice=choice)


def joined(
    material: Material, fitted: Fitted, learnt: PromptTable, model: str, rows: IntArray
) -> tuple[Head, PriceTable, list[str]]:
    """The router with a model added from its outcomes on some of the prompts it was fitted on."""
    column = learnt.models.index(model)
    part = learnt.rows(rows)
    evidence = NewcomerOutcomes(
        features=material.features.rows(rows),
        success=part.success[:, column],
        weight=part.weight[:, column],
        input_tokens=part.input_tokens[:, column],
        output_tokens=part.output_tokens[:, column],
        others=part.columns(material.table.models).success,
        groups=part.groups,
    )
    models = [*material.table.models, model]
    own = logged_prices(part)[model]
    prices = PriceTable.of([*(material.prices[name] for name in material.table.models), own])
    return with_model(fitted.head, evidence), prices, models


def one_model(
    table: PromptTable, encodings: Sequence[Encoding], model: str, config: Config, draws: int
) -> dict[int | None, list[Mapping[str, float]]]:
    """The figures of each size, a list over the draws."""
    fold = folds(table.groups, 10, 0)
    inner, outer = np.flatnonzero(fold >= 3), np.flatnonzero(fold < 3)
    learnt, held = table.rows(inner), table.rows(outer)
    others = [name for name in table.models if name != model]
    material, fitted = trained(learnt.columns(others), [encodings[row] for row in inner.tolist()], config)
    asked = material_of(held, [encodings[row] for row in outer.tolist()], config, material.spec)
    column = held.models.index(model)
    types = [request.task_type or "" for request in learnt.requests]
    out: dict[int | None, list[Mapping[str, float]]] = {}
    without = forecast(material, fitted, held, [encodings[row] for row in outer.tolist()])
    out[0] = [{**figures(without, held), "decision value": value_of(without, held, fitted)}]
    for size in SIZES[1:]:
        for seed in range(draws):
            rows = np.sort(stratified_sample(types, size or len(learnt), seed).rows)
            head, prices, models = joined(material, fitted, learnt, model, rows)
            found = held_out(head, material, models, prices, fitted.policy.weight, asked)
            chance, success = found.probability[:, column], held.success[:, column]
            out.setdefault(size, []).append(
                {
                    **figures(found, held),
                    "decision value": value_of(found, held, fitted),
                    "calibration error": expected_calibration_error(chance, success),
                    "Brier score": float(np.square(chance - success).mean()),
                }
            )
    return out


def value_of(found: Held, held: PromptTable, fitted: Fitted) -> float:
    """Mean success less weighted cost of the choices, at the weight that the router came with."""
    value = held.success - fitted.policy.weight * held.cost
    return float(picked(value, found.choice.astype(np.int64)).mean())


def every_outcome(table: PromptTable, encodings: Sequence[Encoding], config: Config) -> Mapping[str, float]:
    """The figures of a router that was fitted on every outcome."""
    fold = folds(table.groups, 10, 0)
    inner, outer = np.flatnonzero(fold >= 3), np.flatnonzero(fold < 3)
    material, fitted = trained(table.rows(inner), [encodings[row] for row in inner.tolist()], config)
    held = table.rows(outer)
    asked = material_of(held, [encodings[row] for row in outer.tolist()], config, material.spec)
    prices = PriceTable.of([material.prices[name] for name in table.models])
    return figures(held_out(fitted.head, material, table.models, prices, fitted.policy.weight, asked), held)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the public call logs.")],
    draws: Annotated[int, typer.Option(min=1, help="Replays drawn of each size.")] = 3,
    only: Annotated[str, typer.Option(help="Measure the data set whose name begins so.")] = "",
    hidden: Annotated[list[str] | None, typer.Option(help="Hide only these models, in turn.")] = None,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "minilm",
) -> None:
    """Measure and print."""
    training = {"encoder": encoder, "estimator": "success", "test_share": 0.0}
    config = Config(training=Training.model_validate(training))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    console.print(machine())
    for dataset in PUBLIC[:2]:
        if dataset.name.startswith(only):
            measure(dataset, data, config, cache, draws, hidden or ())


def measure(
    dataset: Dataset, data: Path, config: Config, cache: Path, draws: int, hidden: Sequence[str]
) -> None:
    """Hide each model of a data set in turn, and print the means over models and draws."""
    table, encodings = load(dataset, data, config, cache)
    full = np.flatnonzero(np.isfinite(table.success).all(axis=1))
    table, encodings = table.rows(full), [encodings[row] for row in full.tolist()]
    by_size: dict[int | None, list[Mapping[str, float]]] = {}
    models = [model for model in table.models if not hidden or model in hidden]
    for model in models:
        for size, values in one_model(table, encodings, model, config, draws).items():
            by_size.setdefault(size, []).extend(values)
            console.print(f"{model}, {size}: {means(values)}", soft_wrap=True)
    whole = every_outcome(table, encodings, config)
    console.print(
        f"\n{dataset.name}, {len(table)} prompts, mean over {len(table.models)} hidden models", "\n"
    )
    console.print("\n".join(report(by_size, whole)), soft_wrap=True)


def means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: round(float(np.mean([one[name] for one in values])), 4) for name in values[0]}


def report(by_size: Mapping[int | None, list[Mapping[str, float]]], whole: Mapping[str, float]) -> list[str]:
    """The markdown table."""
    names = list(by_size[None][0])
    rows = {
        **{("all" if size is None else f"{size}"): means(values) for size, values in by_size.items()},
        "a router of every outcome": whole,
    }
    lines = [f"| replayed | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for name, values in rows.items():
        cells = (f"{values[figure]:.3f}" if figure in values else "" for figure in names)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
