"""Whether a router that was trained on public data beats the rules on a source that it has not seen.

    python -m benchmarks.starter --data FOLDER [--most 1000]

Two tiers, cheap and strong: the cheapest and the best model of each source, from the parts of the public data
with an Apache-2.0 licence (not BFCL). A success head learns from all sources but one, at most `most` prompts
of each, and ranks the prompts of the one left out by what the strong model adds. APGR is the average
performance gap recovered (random is 0.5); its interval resamples prompts. The rules are the keyword score.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import polars as pl
import typer
from rich.console import Console
from threadpoolctl import threadpool_limits

from benchmarks.quality import PAIR, POOL, ROUTELLM, Dataset, load
from router.deciding.rules import complexity_score, whole_text
from router.forecasting.encoder import Encoding
from router.forecasting.features import FeatureSpec, featurize
from router.records import FloatArray, IntArray, Request
from router.settings.sections import Config, Training
from training.learning.heads import Setting, TrainingSample, cross_fit, fit_heads, fit_lengths
from training.learning.material import GRAM_DIMENSIONS
from training.statistics.policy_curves import apgr

SETTING = Setting(kind="success", value=0.1)
SOURCES = (
    Dataset(name="mixed", file="mixed_traffic.parquet", models=()),
    Dataset(name="MMLU-Pro", file="mmlu_pro.parquet", models=(POOL[0], POOL[3])),
    Dataset(name="RouteLLM", file=ROUTELLM, models=PAIR),
)
SPEC = FeatureSpec(task_types=(), tags=(), gram_dimensions=GRAM_DIMENSIONS)
console = Console(highlight=False)


class Source:
    """Prompts of one benchmark with the outcomes of a cheap and a strong model, shape (n, 2)."""

    def __init__(self, requests: list[Request], encodings: list[Encoding], success: FloatArray) -> None:
        self.requests = [Request.of(one.messages) for one in requests]  # without the labels of the log
        self.features = featurize(self.requests, encodings, SPEC)
        self.success = success
        self.score = np.array([complexity_score(whole_text(one)) for one in self.requests])


def sources(data: Path, config: Config, cache: Path, most: int) -> dict[str, Source]:
    """The sources by name, each with at most so many prompts, drawn at random."""
    out: dict[str, Source] = {}
    for dataset in SOURCES:
        table, encodings = load(dataset, data, config, cache)
        rows = pl.read_parquet(data / dataset.file, columns=["prompt", "dataset"]).unique("prompt")
        name = dict(rows.iter_rows())
        names = np.array(
            [name[request.messages[0]["content"]].partition("/")[0] for request in table.requests]
        )
        if dataset.name == "MMLU-Pro":
            names[:] = dataset.name
        for one in np.unique(names).tolist():
            if "bfcl" in one.lower():
                continue
            of = np.flatnonzero((names == one) & np.isfinite(table.success).all(axis=1))
            of = np.sort(np.random.default_rng(0).permutation(of)[:most])
            if len(of) < 100:
                continue
            success, cost = table.success[of], np.nan_to_num(table.cost[of])
            pair = [int(cost.mean(axis=0).argmin()), int(success.mean(axis=0).argmax())]
            pair = pair if dataset.name == "mixed" else [table.models.index(m) for m in dataset.models]
            out[f"{dataset.name}: {one}"] = Source(
                [table.requests[row] for row in of.tolist()],
                [encodings[row] for row in of.tolist()],
                success[:, pair],
            )
    return out


def sample_of(known: Mapping[str, Source]) -> TrainingSample:
    """All sources together."""
    parts = list(known.values())
    names = parts[0].features.__slots__
    joined = {name: np.concatenate([getattr(one.features, name) for one in parts]) for name in names}
    success = np.concatenate([one.success for one in parts])
    label = np.where(success[:, 0] >= 0.5, 0, np.where(success[:, 1] >= 0.5, 1, -1))
    nothing = np.full(success.shape, np.nan)
    return TrainingSample(
        features=type(parts[0].features)(**joined),
        outcome=success,
        weight=np.ones(success.shape),
        output_tokens=nothing,
        input_tokens=nothing,
        label=label.astype(np.int64),
        groups=np.arange(len(success)),
    )


def resampled(gap: FloatArray, success: FloatArray, draws: int = 500) -> tuple[float, float, float]:
    """APGR with its 95 % interval."""

    def of(rows: IntArray) -> float:
        return apgr(gap[rows], success[rows, 0], success[rows, 1])

    rng, count = np.random.default_rng(0), len(gap)
    values = [of(rng.integers(0, count, count)) for _ in range(draws)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return of(np.arange(count)), float(low), float(high)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the public call logs.")],
    most: Annotated[int, typer.Option(min=100, help="Prompts of a source.")] = 1000,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "static",
) -> None:
    """Measure and print."""
    config = Config(training=Training.model_validate({"encoder": encoder}))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    found = sources(data, config, cache, most)
    console.print(
        "| left out | prompts | cheap | strong | starter, APGR | keyword score, APGR | sent to strong |"
    )
    console.print("|---|---:|---:|---:|---:|---:|---:|")
    for name, held in found.items():
        sample = sample_of({other: one for other, one in found.items() if other != name})
        with threadpool_limits(1):
            fitted = cross_fit(sample, [SETTING], seed=0)
            (head,) = fit_heads(sample, [SETTING], fitted, fit_lengths(sample))
        forecast = head.predict(held.features).probability
        gaps = (forecast[:, 1] - forecast[:, 0], held.score)
        worth = ("{:.2f} [{:.2f}, {:.2f}]".format(*resampled(gap, held.success)) for gap in gaps)
        cheap, strong = (f"{share:.1%}" for share in held.success.mean(axis=0))
        cells = (name, f"{len(held.requests)}", cheap, strong, *worth, f"{(held.score >= 0.75).mean():.1%}")
        console.print(f"| {' | '.join(cells)} |", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
