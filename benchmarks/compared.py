"""The results of `pointsman compare` on each data set, for a router trained on 70 % of the prompts.

    python -m benchmarks.compared [--data FOLDER] [--out FILE]

With `--data`, the folder holds `mixed_traffic.parquet`, `mmlu_pro.parquet` and `routellm_2model.parquet` in
the canonical form (public evaluations, not part of the project). Without it, the bundled sample is used. The
two halves of RouteLLM's pair are compared separately, because costs are known on GSM8K only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import platformdirs
import polars as pl
import typer

from benchmarks.measuring import machine
from benchmarks.quality import PUBLIC, SAMPLE, Dataset
from router.numbers import bounds, rate, relative, signed_points, usd_per_thousand
from router.settings.sections import Config
from router.version import Version
from training.comparing.comparison import Draws
from training.comparing.evaluated import Comparison, PolicyResult
from training.comparing.job import CompareJob, PromiseTerms
from training.comparing.on_log import compare_on_log
from training.pipeline import TrainJob, train_on_log
from training.progress import Silent
from training.prompts.from_logs import ReadOptions

HELD_OUT = 0.3
SEED = 0
MOST_LOST = 0.02
"""Of success, in the promise that is made on each data set."""
JOINT = "trained on all"


def parted(dataset: Dataset, data: Path, folder: Path) -> tuple[Path, Path]:
    """The data set's calls in two files: for training and for the comparison."""
    calls = pl.read_parquet(data / dataset.file)
    source = pl.col("dataset") if "dataset" in calls.columns else pl.lit("")
    if dataset.models:
        calls = calls.filter(pl.col("model").is_in(dataset.models))
    if dataset.part:
        calls = calls.filter((source + "/").str.to_lowercase().str.starts_with(dataset.part))
    known = [pl.col(name) for name in ("prompt_id", "session_id", "call_id") if name in calls.columns]
    group = calls.select(pl.coalesce(known)).to_series()
    names = group.unique().sort()
    held = group.is_in(names.filter(np.random.default_rng(SEED).random(len(names)) < HELD_OUT).to_list())
    files = folder / "train.parquet", folder / "test.parquet"
    for file, rows in zip(files, (~held, held), strict=True):
        calls.filter(rows).drop("dataset", strict=False).write_parquet(file)
    return files


def compared(dataset: Dataset, data: Path, cache: Path) -> Comparison:
    """Train a router on one part and compare it on the other."""
    with TemporaryDirectory(prefix="pointsman-compared-") as scratch:
        folder = Path(scratch)
        fitted_on, judged_on = parted(dataset, data, folder)
        reading = ReadOptions(mapping={}, rejects=folder / "rejects.jsonl", config=Config(), cache=cache)
        train_on_log(
            TrainJob(
                sources=[str(fitted_on)],
                out=folder / "router",
                reading=reading,
                tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
                register=None,
            ),
            Silent(),
        )
        job = CompareJob(
            sources=[str(judged_on)],
            routers={"router": Version.load(folder / "router")},
            out=folder / "report",
            reading=reading,
            promise=PromiseTerms(max_loss=MOST_LOST),
            draws=Draws(seed=SEED),
        )
        return compare_on_log(job, Silent())


def table(dataset: Dataset, found: Comparison) -> Iterator[str]:
    """The comparison as Markdown."""
    yield f"### {dataset.name}: {found.prompts:,} held-out prompts, {len(found.models)} models"
    yield ""
    yield "| policy | success | USD per 1k calls | router's success, points | router's cost, of this |"
    yield "|---|---|---|---|---|"
    told: set[str] = set()
    for policy in (found.router, *found.policies):
        if policy.name not in told and (policy.kind != "single model" or not policy.aliases):
            yield _row(policy, is_router=policy is found.router)
            told |= {policy.name, *policy.aliases}
    yield ""
    losses = [verdict.text for verdict in found.verdict if verdict.outcome == "loss"]
    yield from (f"- {text}" for text in losses or ["No comparison is lost."])
    yield f"- Cost at {found.best_single}'s success rate, of its cost: {_ratio(found)}."
    if found.ranking is not None:
        areas = {"router": found.ranking.auc, **found.ranking.auc_by_score}
        listed = ", ".join(f"{name} {area.value:.3f}" for name, area in areas.items())
        apgr = f"APGR {found.ranking.apgr.value:.3f} {bounds(found.ranking.apgr, 'number')}"
        yield f'- {apgr}; AUC for "{found.ranking.weak} fails": {listed}.'
    yield from _calibrated(found)
    yield ""


def _row(policy: PolicyResult, *, is_router: bool) -> str:
    success, cost = policy.success_difference.interval, policy.cost_ratio.interval
    against = (
        ["", ""]
        if is_router
        else [
            f"{signed_points(success.value)} {bounds(success, 'points')}",
            f"{relative(cost.value)} {bounds(cost, 'ratio')}",
        ]
    )
    name = f"**{policy.name}**" if is_router else ", ".join([policy.name, *policy.aliases])
    values = [name, rate(policy.success.value), usd_per_thousand(policy.cost_usd_per_call.value), *against]
    return f"| {' | '.join(values)} |"


def _ratio(found: Comparison) -> str:
    ratio = found.cost_at_equal_quality
    return f"{relative(ratio.value)} {bounds(ratio, 'ratio')}".strip()


def _calibrated(found: Comparison) -> Iterator[str]:
    errors = found.calibration
    errors_told = f"Calibration error {errors.expected_calibration_error:.3f}, Brier {errors.brier:.3f}"
    yield f"- {errors_told}, of the choice."
    promise = found.promise
    if promise is None or promise.weight is None:
        yield f"- No weight could be promised to lose at most {MOST_LOST:.0%}."
        return
    loss = f"{signed_points(promise.loss.value)} {bounds(promise.loss, 'points')}"
    yield (
        f"- Promised: at most {MOST_LOST * 100:.0f} points below the best single model. On the half that did "
        f"not choose the weight: loss {loss} points, at {relative(promise.cost_ratio.value)} of its cost."
    )


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the public call logs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown file; standard output otherwise.")] = None,
) -> None:
    """Train and compare on every data set; print or write the tables."""
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    folder = data or Path(__file__).parent.parent / "data"
    where = "; ".join(f"{name} {value}" for name, value in machine().items())
    command = " ".join(["python -m benchmarks.compared", *(["--data FOLDER"] if data else [])])
    lines = ["# Compared", "", f"`{command}`, {datetime.now(UTC).date().isoformat()}. {where}."]
    lines += ["Intervals are 95 %, paired and clustered.", ""]
    for dataset in PUBLIC if data else SAMPLE:
        if JOINT not in dataset.name:
            print(f"{dataset.name} ...", file=sys.stderr)
            lines += table(dataset, compared(dataset, folder, cache))
    text = "\n".join(lines).rstrip() + "\n"
    if out is None:
        print(text)
    else:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
