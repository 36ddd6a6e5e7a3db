"""What telling the reasoning efforts of a model apart is worth.

    python -m benchmarks.efforts [--draws 20] [--encoder static] [--seed 1]

Every draw is a synthetic log of its own (`data.make_sample --efforts`, another seed), in which every prompt
of the offline part met every action. A third of those prompts, by key and session, is held out. The intervals
are of the mean difference over the draws, which are independent (Student's t). The cost is that of reaching
the best success of a model whose efforts are not told apart, relative to the best action's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import platformdirs
import typer
from scipy.stats import t

from benchmarks.quality import Dataset, load, machine
from data.make_sample import SEED, write_sample
from router.effort import effort_in
from router.forecasting.encoder import Encoding
from router.models.prices import PriceTable
from router.records import IntArray
from router.settings.sections import Config, Training
from training.learning.fitting import fit
from training.learning.material import material_of
from training.learning.thresholds import Backtest, decision_value
from training.prompts.split import folds, split_groups
from training.prompts.table import PromptTable
from training.statistics.policy_curves import cost_at_quality

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One log: its prompts, and which are held out; those have every outcome."""

    table: PromptTable
    encodings: Sequence[Encoding]
    train: IntArray
    held: IntArray


def drawn(seed: int, config: Config, cache: Path) -> Drawn:
    """Make a log, read it as training does, and hold out a third of its complete prompts."""
    with TemporaryDirectory() as folder:
        write_sample(Path(folder) / "calls.parquet", seed, efforts=True)
        table, encodings = load(Dataset(name="", file="calls.parquet"), Path(folder), config, cache)
    out = folds(table.groups, 3, seed) == 0
    full = np.isfinite(table.success).all(axis=1)
    return Drawn(
        table=table, encodings=encodings, train=np.flatnonzero(~out), held=np.flatnonzero(out & full)
    )


def backtest_of(log: Drawn, seed: int, config: Config) -> Backtest:
    """Forecasts for the held-out prompts of a router trained on a log's others."""
    table, held = log.table.rows(log.train), log.table.rows(log.held)
    material = material_of(table, [log.encodings[row] for row in log.train.tolist()], config)
    share = config.training.validation_share
    no_time = np.full(len(table), np.nan)
    split = split_groups(table.groups, no_time, validation_share=share, test_share=0.0, seed=seed)
    fitted = fit(material, split)
    unseen = material_of(held, [log.encodings[row] for row in log.held.tolist()], config, material.spec)
    outlook = fitted.head.predict(unseen.features)
    prices = PriceTable.of([material.prices[model] for model in table.models])
    cost = prices.expected_cost(outlook.input_tokens, outlook.output_tokens)
    return Backtest.of(outlook.probability, cost, held.success, held.cost)


def worth(log: Drawn, merged: Drawn, seed: int, config: Config) -> dict[str, Figures]:
    """Decisions with efforts told apart, not told apart, and with each model's best effort alone."""
    held = log.table.rows(log.held)
    best = int(held.success.mean(axis=0).argmax())
    paid = float(held.cost[:, best].mean())
    target = float(merged.table.rows(merged.held).success.mean(axis=0).max())
    most = [name for name in log.table.models if effort_in(name) != "low"]
    ways = {
        "told apart": log,
        "not told apart": merged,
        "the high efforts alone": replace(log, table=log.table.columns(most)),
    }
    figures: dict[str, Figures] = {}
    for name, way in ways.items():
        backtest = backtest_of(way, seed, config)
        cost = cost_at_quality(backtest.curve(), target) / paid
        figures[name] = {
            "decision value": float(decision_value(backtest, paid).mean()),
            "cost at best": float(cost),
        }
    return figures


def differences(one: Sequence[Figures], other: Sequence[Figures]) -> Iterator[str]:
    """Write each figure's means, and the mean difference with its 95 % interval."""
    for name in one[0]:
        pairs = np.array([(a[name], b[name]) for a, b in zip(one, other, strict=True)])
        gap = pairs[:, 0] - pairs[:, 1]
        wide = t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
        means = " | ".join(f"{mean:.4f}" for mean in pairs.mean(axis=0))
        yield f"{name} | {means} | {gap.mean():+.4f} [{gap.mean() - wide:+.4f}, {gap.mean() + wide:+.4f}]"


def main(
    draws: Annotated[int, typer.Option(min=2)] = 20,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "minilm",
    seed: Annotated[int, typer.Option(help="Seed of the first log; each other has the next.")] = SEED,
) -> None:
    """Draw the logs, and print what telling apart is worth against each other way."""
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    settings = {"encoder": encoder, "estimator": "success", "test_share": 0.0}
    apart, together = (
        Config(training=Training.model_validate({**settings, "efforts": efforts}))
        for efforts in ("apart", "together")
    )
    ways: dict[str, list[Figures]] = {}
    for number in range(seed, seed + draws):
        log, merged = (drawn(number, config, cache) for config in (apart, together))
        for way, figures in worth(log, merged, number, apart).items():
            ways.setdefault(way, []).append(figures)
    first, *others = ways
    print(
        f"{machine()}; {draws} logs, encoder {encoder}\n\n| {first}, and | | {first} | other | difference |"
    )
    print("|---|---|---|---|---|")
    for way in others:
        print(*(f"| {way} | {line} |" for line in differences(ways[first], ways[way])), sep="\n")


if __name__ == "__main__":
    typer.run(main)
