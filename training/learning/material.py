"""What a router is fitted on: the usable prompts with their features, labels and prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from router.errors import TrainingError
from router.forecasting.encoder import Encoding
from router.forecasting.features import Features, FeatureSpec, featurize
from router.forecasting.task_groups import TaskGroups
from router.models.prices import ModelPrice, PriceTable, current_prices
from router.records import Float32Array, FloatArray, IntArray, Json, Request
from router.settings.sections import Config
from training.learning.heads import TrainingSample
from training.learning.thresholds import Backtest
from training.prompts.embeddings import StoredEncodings
from training.prompts.labels import cheapest_success
from training.prompts.pricing import logged_prices
from training.prompts.table import PromptTable
from training.prompts.task_groups import check_encoder
from training.statistics.blocks import OnDisk, blocks

LEAST_PROMPTS = 50
LEAST_TAG_PROMPTS = 20
MOST_TAGS = 64
MOST_TASK_TYPES = 256
GRAM_DIMENSIONS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All that fitting needs; rows are prompts.

    Attributes:
        table: outcomes of the models that take part.
        label: shape (n_prompts,); column of the cheapest model that succeeded, -1 if none did.
        prices: current prices, per model.
        logged: the price that the calls of each model imply, as the manifest holds it.
    """

    table: PromptTable
    spec: FeatureSpec
    features: Features
    label: IntArray
    prices: Mapping[str, ModelPrice]
    logged: Mapping[str, Json]
    config: Config

    def sample(self, rows: IntArray) -> TrainingSample:
        """Take what heads are fitted on from some of the prompts."""
        outcome = self.table.success[rows]
        return TrainingSample(
            features=self.features.rows(rows),
            outcome=outcome,
            weight=np.where(np.isfinite(outcome), self.table.weight[rows], 0.0),
            output_tokens=self.table.output_tokens[rows],
            input_tokens=self.table.input_tokens[rows],
            label=self.label[rows],
            groups=self.table.groups[rows],
        )

    def backtest(self, rows: IntArray, probability: FloatArray, expected_cost: FloatArray) -> Backtest:
        """Set forecasts for some of the prompts beside their outcomes."""
        success = self.table.success[rows]
        drawn = self.table.drawn[rows][np.isfinite(success).all(axis=1)]
        return Backtest.of(
            probability,
            expected_cost,
            success,
            self.table.cost[rows],
            fair=len(np.unique(drawn)) <= 1,  # a replay prefers valuable prompts: the hard ones
            guaranteed=self.config.objective.max_quality_loss is not None,
        )

    def price_table(self) -> PriceTable:
        """Current prices in the order of the table's models."""
        return PriceTable.of([self.prices[model] for model in self.table.models])


def material_of(
    table: PromptTable, encodings: Sequence[Encoding], config: Config, spec: FeatureSpec | None = None
) -> Material:
    """Compute features, labels and prices of the prompts; the log defines the features unless `spec` does."""
    spec = spec or feature_spec(table)
    features = features_of(table.requests, encodings, spec)
    prices = logged_prices(table, config, features.later)
    logged = {model: price.to_json() for model, price in prices.items()}
    return Material(
        table=table,
        spec=spec,
        features=features,
        label=cheapest_success(table).label,
        prices=current_prices(table.models, logged, config),
        logged=logged,
        config=config,
    )


def features_of(requests: Sequence[Request], encodings: Sequence[Encoding], spec: FeatureSpec) -> Features:
    """The features of all prompts; if their encodings are on disk, so are the wide ones."""
    if not isinstance(encodings, StoredEncodings):
        return featurize(requests, encodings, spec)
    narrow = [field.name for field in fields(Features) if field.name not in ("embedding", "grams")]
    parts: dict[str, list[Any]] = {name: [] for name in narrow}

    def grams() -> Iterator[Float32Array]:
        for rows in blocks(len(requests)):
            part = featurize(requests[rows], encodings[rows], spec)
            for name in narrow:
                parts[name].append(getattr(part, name))
            yield part.grams

    wide: dict[str, Any] = {"grams": OnDisk.of(grams()), "embedding": encodings.vectors}
    return Features(**wide, **{name: np.concatenate(arrays) for name, arrays in parts.items()})


def feature_spec(table: PromptTable) -> FeatureSpec:
    """Collect the most frequent task types, and the tags that are frequent enough to learn from.

    Prompts of the other task types are learnt like those without one, and served likewise.
    """
    of_type = Counter(request.task_type for request in table.requests if request.task_type)
    types = sorted(sorted(of_type, key=lambda name: (-of_type[name], name))[:MOST_TASK_TYPES])
    counts = Counter(tag for request in table.requests for tag in request.tags)
    tags = sorted(tag for tag, count in counts.most_common(MOST_TAGS) if count >= LEAST_TAG_PROMPTS)
    return FeatureSpec(task_types=tuple(types), tags=tuple(tags), gram_dimensions=GRAM_DIMENSIONS)


def usable_models(table: PromptTable, config: Config) -> tuple[PromptTable, list[str]]:
    """Leave out the models with too few outcomes; returns the smaller table and a warning for each of them.

    Raises:
        TrainingError: fewer than two models, or too few prompts, are left.
    """
    need = config.training.min_calls
    known = np.isfinite(table.success)
    counts = dict(zip(table.models, table.known_calls().sum(axis=0).tolist(), strict=True))
    models = [model for model, count in counts.items() if count >= need]
    if not known.any():
        raise TrainingError(
            "no call of the log has a known outcome: success (true or false) or score (0 to 1) must say it; "
            "if another column does, name it with --map success=COLUMN or --map score=COLUMN; or let a model "
            "grade answers: "
            "`pointsman import CALLS --out judged.parquet --judge MODEL --judge-budget 1 --dry-run`"
        )
    if len(models) < 2:
        listed = ", ".join(f"{model}: {count:,}" for model, count in counts.items()) or "none"
        ways = "Add another model's calls"
        if len(counts) > 1:
            ways = "Log more outcomes, add another model's calls, or lower training.min_calls"
        raise TrainingError(
            f"a router needs at least two models with {need:,} calls of known outcome (success or score); "
            f"the log has {listed}. {ways}; `pointsman inspect CALLS` says what else is missing, and "
            "`pointsman init MODEL...` makes a router of rules alone, whose log trains the first one"
        )
    rows = np.flatnonzero(known[:, [table.models.index(model) for model in models]].any(axis=1))
    if len(rows) < LEAST_PROMPTS:
        raise TrainingError(
            f"{len(rows):,} prompts have a known outcome, at least {LEAST_PROMPTS} are needed: log more calls"
        )
    warnings = [
        f"{model} is left out: {count:,} calls with a known outcome, {need} needed (training.min_calls)"
        for model, count in counts.items()
        if count < need
    ]
    return table.rows(rows).columns(models), warnings


def with_task_types(
    table: PromptTable, encodings: Sequence[Encoding], groups: TaskGroups, encoder_sha256: str
) -> PromptTable:
    """Give the requests the task types that the router will see when it serves.

    Raises:
        TrainingError: the groups belong to another encoder.
    """
    check_encoder(groups, encoder_sha256)

    def typed(request: Request, encoding: Encoding) -> Request:
        return groups.typed(request, lambda _: encoding)

    return replace(table, requests=[typed(*pair) for pair in zip(table.requests, encodings, strict=True)])
