"""The worth of the router: 5-fold cross-validation by prompt, three seeds, on call logs with a full matrix.

    python -m benchmarks.quality [--data FOLDER] [--seeds 3] [--out benchmarks/RESULTS.md]

With `--data`, the folder holds `mixed_traffic.parquet`, `mmlu_pro.parquet` and `routellm_2model.parquet` in
the canonical form (public evaluations, not part of the project). Without it, the bundled sample is used.
Every figure comes from forecasts for held-out prompts, pooled over the folds; each fold is a whole training
run (regularisation, estimator, calibration) on the other four.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console
from rich.progress import Progress

from router.deciding.policy import choose
from router.deciding.rules import heuristic_model, whole_text
from router.forecasting.encoder import Encoding, load_encoder
from router.models.prices import PriceTable
from router.records import BoolArray, FloatArray, IntArray
from router.settings.sections import Config, HeuristicModels, Training
from training.comparing.policies.baselines import TrainingStatistics, default_heuristic_models, task_estimates
from training.learning.fitting import fit
from training.learning.material import material_of
from training.learning.thresholds import weight_inside
from training.progress import Silent
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import ReadOptions, calls_of, encodings_of, table_of
from training.prompts.split import folds, split_groups
from training.prompts.table import PromptTable
from training.statistics.intervals import Interval, interval, mean_difference, resampled_sums
from training.statistics.policy_curves import (
    Curve,
    apgr,
    cost_at_quality,
    cost_matched_shuffle,
    cost_quality_curve,
    expected_calibration_error,
    picked,
)

FOLDS = 5
LIBRARIES = ("numpy", "scikit-learn", "onnxruntime", "sentence-transformers")
console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One data set of the benchmark.

    Attributes:
        models: the pool; empty for all models of the file.
        pair: the weak and the strong model, where there are two and costs are unknown.
        gaps: with a pair, the prompts that each APGR is measured on, by the beginning of their source's name.
        part: train and measure on the prompts of this source only.
    """

    name: str
    file: str
    models: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None
    gaps: Mapping[str, str] | None = None
    part: str = ""


POOL = (
    "Meta-Llama-3_1-8B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3_1-70B-Instruct",
    "gemini-1.5-pro-002",
)
PAIR = ("mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview")
ROUTELLM = "routellm_2model.parquet"
PUBLIC = (
    Dataset(name="mixed_traffic", file="mixed_traffic.parquet"),
    Dataset(name="mmlu_pro, pool of 4", file="mmlu_pro.parquet", models=POOL),
    Dataset(name="routellm_2model, MMLU", file=ROUTELLM, pair=PAIR, gaps={"MMLU": "mmlu/"}, part="mmlu/"),
    Dataset(name="routellm_2model, GSM8K", file=ROUTELLM, pair=PAIR, gaps={"GSM8K": "gsm8k/"}, part="gsm8k/"),
    Dataset(
        name="routellm_2model, trained on all",
        file=ROUTELLM,
        pair=PAIR,
        gaps={"MMLU": "mmlu/", "GSM8K": "gsm8k/"},
    ),
)
SAMPLE = (Dataset(name="bundled sample", file="sample_calls.parquet"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Held-out forecasts of all folds beside what happened; shape (n, n_models), rows with a full matrix.

    Attributes:
        table_probability, table_cost: what the means per task type, of the other folds, expect.
        heuristic: shape (n,); the keyword heuristic's column.
    """

    prompts: PromptTable
    probability: FloatArray
    expected_cost: FloatArray
    table_probability: FloatArray
    table_cost: FloatArray
    heuristic: IntArray
    published: Mapping[str, int]


def cross_validate(table: PromptTable, encodings: Sequence[Encoding], seed: int, config: Config) -> Pooled:
    """Forecasts for every prompt from a whole training run on the other folds."""
    full = np.isfinite(table.success).all(axis=1)
    shape = table.success.shape
    out = {name: np.zeros(shape) for name in ("probability", "cost", "table_probability", "table_cost")}
    heuristic = np.zeros(len(table), dtype=np.int64)
    published: dict[str, int] = {}
    fold = folds(table.groups, FOLDS, seed)
    for number in range(FOLDS):
        inner, outer = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        material = material_of(table.rows(inner), [encodings[row] for row in inner.tolist()], config)
        groups, settings = material.table.groups, config.training
        split = split_groups(
            groups,
            np.full(len(groups), np.nan),
            validation_share=settings.validation_share,
            test_share=0.0,
            seed=seed,
        )
        fitted = fit(material, split)
        published[fitted.published] = published.get(fitted.published, 0) + 1
        held = material_of(
            table.rows(outer), [encodings[row] for row in outer.tolist()], config, material.spec
        )
        outlook = fitted.head.predict(held.features)
        prices = PriceTable.of([material.prices[model] for model in table.models])
        out["probability"][outer] = outlook.probability
        out["cost"][outer] = prices.expected_cost(outlook.input_tokens, outlook.output_tokens)
        statistics = _statistics(material.table)
        types = [request.task_type for request in held.table.requests]
        out["table_probability"][outer], out["table_cost"][outer] = task_estimates(statistics, types)
        heuristic[outer] = _heuristic(statistics, held.table)
    rows = np.flatnonzero(full)
    return Pooled(
        prompts=table.rows(rows),
        probability=out["probability"][rows],
        expected_cost=out["cost"][rows],
        table_probability=out["table_probability"][rows],
        table_cost=out["table_cost"][rows],
        heuristic=heuristic[rows],
        published=published,
    )


def measures(pooled: Pooled, dataset: Dataset, names: Sequence[str]) -> dict[str, float | Interval]:
    """The figures of one seed; `names` are the prompts' names in the source, for the two-model sets."""
    if dataset.pair is None or dataset.gaps is None:
        return _cost_measures(pooled)
    weak, strong = (pooled.prompts.models.index(model) for model in dataset.pair)
    found: dict[str, float | Interval] = {}
    for name, prefix in dataset.gaps.items():
        rows = np.array([source.startswith(prefix) for source in names], dtype=bool)
        found.update(_gap_measures(pooled, rows, weak, strong, name))
    return found


def _cost_measures(pooled: Pooled) -> dict[str, float | Interval]:
    success, cost = pooled.prompts.success, pooled.prompts.cost
    curve = cost_quality_curve(pooled.probability, pooled.expected_cost, success, cost)
    table = cost_quality_curve(pooled.table_probability, pooled.table_cost, success, cost)
    best = int(success.mean(axis=0).argmax())
    target, paid = success[:, best].mean(), cost[:, best].mean()
    cheapest = int(cost.mean(axis=0).argmin())
    choice = choose(pooled.probability, pooled.expected_cost, _weight_at(curve, target))
    least = np.where(success >= 0.5, cost, np.inf).min(axis=1)
    oracle = np.where(np.isfinite(least), least, cost[:, cheapest]).mean()
    return {
        "cost at best": cost_at_quality(curve, target) / paid,
        "cost at best, mean per task type": cost_at_quality(table, target) / paid,
        "cost of the cheapest model": cost[:, cheapest].mean() / paid,
        "cost of the oracle": oracle / paid,
        "success of the best single model": float(target),
        "success of the cheapest model": float(success[:, cheapest].mean()),
        "most success of the router": float(curve.success.max()),
        "ECE": expected_calibration_error(pooled.probability.ravel(), success.ravel()),
        **_against(pooled, choice, success, cost),
    }


def _gap_measures(
    pooled: Pooled, rows: BoolArray, weak: int, strong: int, name: str
) -> dict[str, float | Interval]:
    """APGR on some prompts, and half of them sent to the strong model against the controls."""
    success = pooled.prompts.success[rows]
    gap = pooled.probability[rows, strong] - pooled.probability[rows, weak]
    calls = np.zeros_like(success)
    calls[:, strong] = 1.0
    choice = np.where(gap > np.median(gap), strong, weak)
    part = Pooled(
        prompts=pooled.prompts.rows(np.flatnonzero(rows)),
        probability=pooled.probability[rows],
        expected_cost=calls,
        table_probability=calls,
        table_cost=calls,
        heuristic=pooled.heuristic[rows],
        published=pooled.published,
    )
    probability = pooled.probability[rows]
    found = _against(part, choice, success, calls)
    return {
        f"{name} APGR": apgr(gap, success[:, weak], success[:, strong]),
        f"{name} ECE": expected_calibration_error(probability.ravel(), success.ravel()),
        **{f"{name} {key}": value for key, value in found.items()},
    }


def _against(
    pooled: Pooled, choice: IntArray, success: FloatArray, cost: FloatArray
) -> dict[str, float | Interval]:
    """Differences in success, paired and clustered: to the shuffle, and to the heuristic twice."""
    mine, clusters = picked(success, choice), pooled.prompts.groups
    shuffled, _ = cost_matched_shuffle(choice, success, cost)
    theirs, paid = picked(success, pooled.heuristic), picked(cost, pooled.heuristic).mean()
    curve = cost_quality_curve(pooled.probability, pooled.expected_cost, success, cost)
    within = np.flatnonzero(curve.cost <= paid + 1e-15)
    weight = weight_inside(curve, int(within[0])) if len(within) else float(curve.weight[-1])
    equal = picked(success, choose(pooled.probability, pooled.expected_cost, weight))

    def difference(one: FloatArray, other: FloatArray) -> Interval:
        columns = np.stack([one, other, np.ones(len(one))], axis=1)
        return interval(resampled_sums(columns, clusters), mean_difference)

    return {
        "success over the shuffle": difference(mine, shuffled),
        "success over the heuristic": difference(mine, theirs),
        "success over the heuristic at its cost": difference(equal, theirs),
        "share of the heuristic's calls to the cheapest": float(
            (pooled.heuristic == cost.mean(axis=0).argmin()).mean()
        ),
    }


def _weight_at(curve: Curve, target: float) -> float:
    """The weight of the cheapest point of the curve that reaches a success rate, else of its best point."""
    enough = curve.success >= target
    cheapest = int(np.argmin(np.where(enough, curve.cost, np.inf)))
    return weight_inside(curve, cheapest if enough.any() else int(curve.success.argmax()))


def _statistics(table: PromptTable) -> TrainingStatistics:
    types = [request.task_type for request in table.requests]
    return TrainingStatistics.of(table.models, types, table.success, table.cost)


def _heuristic(statistics: TrainingStatistics, table: PromptTable) -> IntArray:
    """The keyword heuristic's column; without any cost, the model that succeeds least is the cheap one."""
    models = default_heuristic_models(statistics)
    if models is None:
        cheap, *_, strong = (statistics.models[place] for place in np.argsort(statistics.success))
        models = HeuristicModels(strong=strong, middle=cheap, cheap=cheap)
    chosen = [heuristic_model(whole_text(request), models) for request in table.requests]
    return np.array([table.models.index(model) for model in chosen], dtype=np.int64)


def load(
    dataset: Dataset, folder: Path, config: Config, cache: Path
) -> tuple[PromptTable, Sequence[Encoding]]:
    """A data set's prompts, with its pool of models only, and their embeddings."""
    table = read(dataset, folder, config, cache)
    return table, encoded(table, config.training.encoder, cache)


def read(dataset: Dataset, folder: Path, config: Config, cache: Path) -> PromptTable:
    """A data set's prompts, with its pool of models only."""
    with TemporaryDirectory() as scratch:
        reading = ReadOptions(mapping={}, rejects=Path(scratch) / "rejects.jsonl", config=config, cache=cache)
        with calls_of([str(folder / dataset.file)], reading, Silent()) as files:
            table = table_of(files, config, Silent())
    table = table.columns(dataset.models or table.models)
    known = np.isfinite(table.success)
    rows = known.all(axis=1) if dataset.models else known.any(axis=1)
    table = table.rows(np.flatnonzero(rows))
    if dataset.part:
        names = source_names(dataset, folder, table)
        kept = [row for row, name in enumerate(names) if name.startswith(dataset.part)]
        table = table.rows(np.array(kept, dtype=np.int64))
    return table


def encoded(table: PromptTable, choice: str, cache: Path) -> Sequence[Encoding]:
    """The prompts' embeddings by the encoder of that name."""
    encoder = prepared_encoder(choice, [], cache)
    return encodings_of(table, load_encoder(encoder, encoder_info(encoder)), cache, Silent())[0]


def source_names(dataset: Dataset, folder: Path, table: PromptTable) -> list[str]:
    """The name of each prompt's benchmark: for picking rows to report on, never a feature."""
    if dataset.gaps is None:
        return []
    import polars as pl

    rows = pl.read_parquet(folder / dataset.file, columns=["prompt", "dataset"]).unique("prompt")
    name = dict(rows.iter_rows())
    return [f"{name[request.messages[0]['content']]}/" for request in table.requests]


def row_of(name: str, values: Sequence[float | Interval]) -> str:
    """One line of the table: mean over seeds and their range, or the first seed's interval."""
    first = values[0]
    if isinstance(first, Interval):
        spread = "; ".join(f"{100 * v.value:+.1f} [{100 * v.low:+.1f}, {100 * v.high:+.1f}]" for v in values
                           if isinstance(v, Interval))  # fmt: skip
        return f"| {name}, points | {spread} |"
    numbers = np.array([value for value in values if not isinstance(value, Interval)])
    return f"| {name} | {numbers.mean():.3f} ({numbers.min():.3f} to {numbers.max():.3f}) |"


def machine() -> str:
    """What the figures were measured on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}"


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the public call logs.")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "minilm",
    estimator: Annotated[str, typer.Option(help="auto, success or label.")] = "auto",
    only: Annotated[str, typer.Option(help="Part of a data set's name.")] = "",
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Measure, print, and write the table that the README quotes."""
    folder = data or Path(__file__).parent.parent / "data"
    training = {"encoder": encoder, "estimator": estimator, "test_share": 0.0}
    config = Config(training=Training.model_validate(training))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    lines = [
        f"{machine()}; encoder {encoder}, estimator {estimator}; {FOLDS} folds by prompt, {seeds} seeds."
    ]
    for dataset in PUBLIC if data else SAMPLE:
        if only in dataset.name:
            lines += _measure(dataset, folder, config, cache, seeds)
    console.print("\n".join(lines), soft_wrap=True)
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _measure(dataset: Dataset, folder: Path, config: Config, cache: Path, seeds: int) -> list[str]:
    """The markdown table of one data set."""
    table, encodings = load(dataset, folder, config, cache)
    found: list[dict[str, float | Interval]] = []
    published: dict[str, int] = {}
    with Progress(console=Console(stderr=True)) as bars:
        for seed in bars.track(range(seeds), description=dataset.name):
            pooled = cross_validate(table, encodings, seed, config)
            found.append(measures(pooled, dataset, source_names(dataset, folder, pooled.prompts)))
            for kind, count in pooled.published.items():
                published[kind] = published.get(kind, 0) + count
    rows = [row_of(name, [seed[name] for seed in found]) for name in found[0]]
    size = f"{len(table)} prompts, {len(table.models)} models"
    columns = ["| measure | mean over seeds (range), or each seed's paired 95 % interval |", "|---|---|"]
    return ["", f"**{dataset.name}**: {size}; published: {json.dumps(published)}", "", *columns, *rows]


if __name__ == "__main__":
    typer.run(main)
