"""False alarms of `pointsman watch --traffic` over 100 daily looks, and how soon new prompts are seen.

    python -m benchmarks.drift --data FOLDER [--runs 200]

The folder holds `mmlu_pro.parquet` and `mixed_traffic.parquet` (see `benchmarks.quality`), embedded by the
static encoder. A run draws training's prompts and 100 days of traffic from one data set without replacement;
an alarm on any day is a false one. In the second half of the table a share of the traffic comes from the
other data set from the 31st day on. The chance of an alarm is that of one of 50 cells, as in a router of four
models and five task types.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console

from benchmarks.quality import PUBLIC, load
from router.forecasting.head import unit
from router.records import Float32Array, FloatArray
from router.settings.sections import Config, Training
from training.statistics.sequential import log_evidence_of_excess, novelty
from training.traffic import NEW_TOLERANCE
from training.watching import ALPHA

DAYS, CHANGE, CELLS, AXES = 100, 30, 50, 128
console = Console(highlight=False)


def first_alarm(reference: Float32Array, traffic: Float32Array) -> int | None:
    """The number of the prompt after which a look would alarm; None: none would."""
    values, off = novelty(reference, traffic)
    bounds: FloatArray = np.full(len(values), 0.5 + NEW_TOLERANCE + off)
    above = np.flatnonzero(log_evidence_of_excess(values, bounds) >= math.log(CELLS / ALPHA))
    return int(above[0]) if len(above) else None


def main(
    data: Annotated[Path, typer.Option(help="Folder of the public call logs.")],
    runs: Annotated[int, typer.Option(min=1)] = 200,
    daily: Annotated[int, typer.Option(min=1, help="Prompts a day.")] = 30,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "static",
) -> None:
    """Measure and print."""
    config = Config(training=Training.model_validate({"encoder": encoder}))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    usual, other = (
        np.stack([one.vector for one in load(dataset, data, config, cache)[1]]) for dataset in PUBLIC[1::-1]
    )
    axes = np.linalg.eigh(unit(usual).T @ unit(usual))[1][:, ::-1][:, :AXES].astype(np.float32)
    usual, other = unit(usual @ axes), unit(other @ axes)
    size = len(usual) - DAYS * daily
    console.print(f"{size} prompts of training, {daily} a day, {runs} runs")
    for share in (0.0, 0.1, 0.2, 0.5):
        late: list[float] = []
        false = 0
        for run in range(runs if share == 0 else max(runs // 4, 1)):
            rng = np.random.default_rng(run)
            order = rng.permutation(len(usual))
            traffic = usual[order[size:]].copy()
            new = (rng.random(len(traffic)) < share) & (np.arange(len(traffic)) >= CHANGE * daily)
            traffic[new] = other[rng.integers(0, len(other), int(new.sum()))]
            found = first_alarm(usual[order[:size]], traffic)
            false += found is not None and (share == 0 or found < CHANGE * daily)
            if found is not None and found >= CHANGE * daily:
                late.append(found - CHANGE * daily)
        console.print(
            f"share of new prompts {share:.0%}: {false} false alarms; {len(late)} alarms after the change, "
            f"median after {np.median(late) if late else math.nan:.0f} prompts"
        )


if __name__ == "__main__":
    typer.run(main)
