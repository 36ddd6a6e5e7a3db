"""How right token counts and expected costs are, against the counts that providers billed.

    python -m benchmarks.tokens --data FOLDER

The folder holds `mixed_traffic.parquet` (public evaluations, not part of the project), whose calls with
tools have the providers' own counts. That log lacks the instructions that the benchmark put around each
prompt: the router learns such a constant per model, and the count without learning is compared net of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer

from benchmarks.quality import FOLDS, PUBLIC, load
from router.forecasting.features import featurize
from router.forecasting.head import narrow_inputs
from router.forecasting.request_tokens import request_contents, tokens_of_one
from router.models.prices import PriceTable
from router.records import FloatArray
from router.settings.sections import Config
from training.learning.heads import fit_lengths, structure_scaling
from training.learning.material import material_of
from training.prompts.split import folds


def main(data: Annotated[Path, typer.Option(help="Folder of the public call logs.")]) -> None:
    """Print the errors by model, and expected over measured cost."""
    config = Config()
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    table, encodings = load(PUBLIC[0], data, config, cache)
    measured = np.array([bool(request.tools) for request in table.requests])
    expected, cost = np.zeros_like(table.cost), np.zeros_like(table.cost)
    fold = folds(table.groups, FOLDS, seed=0)
    for number in range(FOLDS):
        inner, outer = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        material = material_of(table.rows(inner), [encodings[row] for row in inner.tolist()], config)
        lengths = fit_lengths(sample := material.sample(np.arange(len(inner))))
        rows = outer.tolist()
        held = featurize(
            [table.requests[row] for row in rows], [encodings[row] for row in rows], material.spec
        )
        narrow = narrow_inputs(held, structure_scaling(sample.features))
        expected[outer], output = lengths.expected(held, narrow)
        prices = PriceTable.of([material.prices[model] for model in table.models])
        cost[outer] = prices.expected_cost(expected[outer], output)
    plain = np.array([request_contents(request).tokens for request in table.requests])
    typer.echo("| model | learned: median, p90 | not learned: median, p90 | expected / measured cost |")
    typer.echo("|---|---|---|---|")
    for column, model in enumerate(table.models):
        billed, own = table.input_tokens[measured, column], plain[measured] * tokens_of_one(model)
        constant = float(np.median(billed - own))
        ratio = np.nansum(cost[measured, column]) / np.nansum(table.cost[measured, column])
        typer.echo(
            f"| {model} | {_errors(expected[measured, column], billed)} | "
            f"{_errors(own, billed - constant)} | {ratio:.3f} |"
        )
    typer.echo(f"{int(measured.sum())} prompts with tools of {len(table)}; {FOLDS} folds by prompt")


def _errors(counted: FloatArray, billed: FloatArray) -> str:
    off = np.abs(counted - billed) / billed
    return f"{100 * np.nanmedian(off):.1f} %, {100 * np.nanquantile(off, 0.9):.1f} %"


if __name__ == "__main__":
    typer.run(main)
