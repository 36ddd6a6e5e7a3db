"""Whether decisions are as good with another encoder, and with two of which the second is asked now and then.

    python -m benchmarks.encoders [--data FOLDER] --encoder minilm --encoder static [--prompts N] [--margin M]

Each encoder is compared with the first one, on the same folds, over all prompts and over the long ones. Every
figure comes from forecasts for held-out prompts (`benchmarks.quality`). The folder of a model's weights is an
encoder too: MiniLM's own folder reads 256 tokens, which `minilm` cuts to fewer.

With `--margin`, the last encoder decides where its two best models are further apart than that, in chance of
success net of cost, and the first one on the other prompts: a cascade of encoders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console

from benchmarks.learners import pair_auc
from benchmarks.quality import PUBLIC, SAMPLE, Pooled, cross_validate, encoded, machine, read
from router.records import BoolArray, FloatArray, IntArray
from router.settings.sections import Config, Training
from training.learning.thresholds import STAKES
from training.prompts.table import PromptTable
from training.statistics.hull import aiq
from training.statistics.intervals import interval, mean_difference, resampled_sums
from training.statistics.policy_curves import picked

LONG = 128
"""Tokens from which on a prompt counts as long."""
WEIGHTS = np.concatenate([[0.0], np.geomspace(1e-3, 3.0, 60)])
"""What the curve behind the AIQ is swept over: cost of a call of the best single model, in success."""
RESAMPLES = 200
console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One way to decide, over all seeds.

    Attributes:
        value: shape (n,); decision value of each prompt, mean over seeds.
        aiq: mean over seeds.
        asked: share of decisions at the stakes in which the second encoder was asked.
    """

    value: FloatArray
    aiq: float
    asked: float


def judge(first: Sequence[Pooled], second: Sequence[Pooled], margin: float) -> Judged:
    """Decide by `first`, and by `second` where the first one's two best are closer than `margin`; by seed."""
    values, areas, asked = [], [], []
    for pair in zip(first, second, strict=True):
        success, cost = pair[0].prompts.success, pair[0].prompts.cost
        single, best = cost.mean(axis=0), int(success.mean(axis=0).argmax())
        sweep = [cascade(*pair, weight / single[best], margin) for weight in WEIGHTS]
        points = [(picked(success, choice).mean(), picked(cost, choice).mean()) for choice, _ in sweep]
        curve, paid = np.array(points).T, np.array([single.min(), single.max()])
        areas.append(float(aiq(curve[0], curve[1], paid[0], paid[1])))
        for weight in STAKES / single[best]:
            choice, second_asked = cascade(*pair, weight, margin)
            values.append(picked(success, choice) - weight * picked(cost, choice))
            asked.append(second_asked.mean())
    return Judged(value=np.mean(values, axis=0), aiq=float(np.mean(areas)), asked=float(np.mean(asked)))


def cascade(first: Pooled, second: Pooled, weight: float, margin: float) -> tuple[IntArray, BoolArray]:
    """The column chosen for each prompt, and whether `second` chose it; both of shape (n,)."""
    mine, others = (one.probability - weight * one.expected_cost for one in (first, second))
    top = np.sort(mine, axis=1)
    asked = top[:, -1] - top[:, -2] < margin
    return np.where(asked, others.argmax(axis=1), mine.argmax(axis=1)), asked


def report(pooled: Mapping[str, Sequence[Pooled]], tokens: FloatArray, margins: Sequence[float]) -> list[str]:
    """One row an encoder, and one a margin, each against the first encoder."""
    names = list(pooled)
    reference, last = pooled[names[0]], pooled[names[-1]]
    ways = {name: judge(runs, runs, 0.0) for name, runs in pooled.items()}
    ways |= {
        f"{names[-1]}, then {names[0]} below {margin:g}": judge(last, reference, margin) for margin in margins
    }
    level = ways[names[0]]
    lines = []
    for name, way in ways.items():
        cells = [name, f"{way.asked:.0%}", f"{way.aiq:.4f}"]
        for rows in (tokens >= 0, tokens > LONG):
            area = areas(pooled[name], reference, rows) if name in pooled else "-"
            cells += [difference(way.value[rows], level.value[rows], reference[0], rows), area]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def difference(mine: FloatArray, theirs: FloatArray, pooled: Pooled, rows: BoolArray) -> str:
    """The paired difference in decision value, times 1,000."""
    columns = np.stack([mine, theirs, np.ones(len(mine))], axis=1)
    found = interval(resampled_sums(columns, pooled.prompts.groups[rows]), mean_difference)
    return f"{1e3 * found.value:+.2f} [{1e3 * found.low:+.2f}, {1e3 * found.high:+.2f}]"


def areas(mine: Sequence[Pooled], theirs: Sequence[Pooled], rows: BoolArray) -> str:
    """The pair AUC, mean over seeds, and the interval of its difference over resamples of the prompts."""
    random, kept = np.random.default_rng(0), np.flatnonzero(rows)

    def mean(runs: Sequence[Pooled], at: IntArray) -> float:
        return float(np.mean([pair_auc(one.probability[at], one.prompts.success[at]) for one in runs]))

    own = f"{mean(mine, kept):.3f}"
    if mine is theirs:
        return own
    drawn = (random.choice(kept, len(kept)) for _ in range(RESAMPLES))
    low, high = np.percentile([mean(mine, at) - mean(theirs, at) for at in drawn], [2.5, 97.5])
    return f"{own} [{low:+.3f}, {high:+.3f}]"


def draw(table: PromptTable, prompts: int) -> PromptTable:
    """So many of the prompts with every outcome known, at random; 0: all of them."""
    rows = np.flatnonzero(np.isfinite(table.success).all(axis=1))
    drawn = np.random.default_rng(7).permutation(len(rows))[: prompts or None]
    return table.rows(rows[np.sort(drawn)])


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the public call logs.")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="minilm, static, a name or a folder; repeatable.")
    ] = None,
    prompts: Annotated[int, typer.Option(min=0, help="Prompts to draw; 0: all.")] = 2000,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    margin: Annotated[list[float] | None, typer.Option(help="Of a cascade; repeatable.")] = None,
    only: Annotated[str, typer.Option(help="Part of a data set's name.")] = "",
) -> None:
    """Measure and print."""
    choices = encoder or ["minilm", "static"]
    training = {"encoder": choices[0], "estimator": "success", "test_share": 0.0}
    config = Config(training=Training.model_validate(training))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    folder = data or Path(__file__).parent.parent / "data"
    console.print(f"{machine()}; {seeds} seeds; against {choices[0]}.", soft_wrap=True)
    for dataset in PUBLIC if data else SAMPLE:
        if only not in dataset.name or dataset.pair:
            continue
        table = draw(read(dataset, folder, config, cache), prompts)
        encodings = {Path(choice).name: encoded(table, choice, cache) for choice in choices}
        pooled = {
            name: [cross_validate(table, texts, seed, config) for seed in range(seeds)]
            for name, texts in encodings.items()
        }
        tokens = np.array([one.tokens for one in next(iter(encodings.values()))], dtype=np.float64)
        head = "| encoder | asked | AIQ | value, all | pair AUC, all | value, long | pair AUC, long |"
        lines = [f"**{dataset.name}**: {len(table)} prompts, {(tokens > LONG).sum()} long", "", head,
                 "|---" * 7 + "|", *report(pooled, tokens, margin or [])]  # fmt: skip
        console.print("\n".join(lines), soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
