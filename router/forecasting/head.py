"""The fitted heads at serving time: features in, success probability and token counts per model out.

The success estimator adds up three parts that need different amounts of shrinkage: how hard a prompt is for
every model, how each model differs by task type and difficulty, and how it deviates on prompts like this one.
Only differences between models move a choice, and they are small, so the last part is shrunk hardest. A
logistic regression per model on these parts gives the probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.forecasting.added import Added
from router.forecasting.features import TOOLS_COLUMN, Features
from router.forecasting.one_row import FEW, Blocks, products
from router.records import BoolArray, Float32Array, FloatArray, IntArray, Json

NEIGHBOURS = 400
"""Most neighbours that give evidence; at most a quarter of the store."""
SHARPNESS = 8.0
"""Weight of a neighbour: exp(SHARPNESS * cosine)."""
PRIOR_NEIGHBOURS = 5.0
"""How many neighbours the belief weighs that a model does as well as its level predicts."""
NEAREST = 10
"""Neighbours whose mean cosine is a prompt's familiarity."""
STRUCTURE_SCALE = 0.1
NARROW_STRUCTURE_SCALE = 0.2
LABEL_SCALE = 0.5
"""Length of a task type's or tag's column, relative to the unit embedding."""
LEVEL_SCALE = 3.0
DEVIATION_SHARE = 0.7
"""Share that counts of each of the two estimates of a deviation, since they overlap."""
CLIP = 0.02
CHUNK = 512
Kind = Literal["success", "label"]
AnyArray: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Weights, shape (n_inputs, n_outputs), and intercept, shape (n_outputs,)."""

    weights: FloatArray
    intercept: FloatArray

    def __call__(self, inputs: AnyArray) -> FloatArray:
        """Outputs, shape (n, n_outputs)."""
        return np.asarray(inputs @ self.weights + self.intercept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Mean and spread of the structure features; a constant feature has an infinite spread."""

    mean: Float32Array
    spread: Float32Array

    def standard(self, structure: Float32Array) -> Float32Array:
        """Subtract the mean, divide by the spread, and cut at four spreads."""
        return np.asarray(within((structure - self.mean) / self.spread, -4, 4), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class NeighbourStore:
    """A compact copy of training prompts and of the outcomes on them.

    Attributes:
        axes: shape (n_narrow, n_axes); principal axes of the narrow inputs.
        points: shape (n_points, n_axes); unit rows.
        values: shape (n_points, 1 + n_models); the shared part, then each model's residual times its weight.
        seen: the same shape; weight of each observation, 0 where there is none.
    """

    axes: Float32Array
    points: Float32Array
    values: Float32Array
    seen: Float32Array

    def search(self, inputs: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Average what models did on the neighbours of n prompts.

        Args:
            inputs: shape (n, n_narrow), as `narrow_inputs` gives them.

        Returns:
            Weighted mean values, shrunk towards 0, shape (n, 1 + n_models); and familiarity, shape (n,).
        """
        parts = [self._around(self.cosines(inputs[i : i + CHUNK])) for i in range(0, len(inputs), CHUNK)]
        return np.vstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def cosines(self, inputs: Float32Array) -> Float32Array:
        """Similarity of n prompts to each point, shape (n, n_points); for a few on this thread alone."""
        if len(inputs) > FEW:
            return np.asarray(unit(inputs @ self.axes) @ self.points.T)
        if len(inputs) > 1:
            queries = unit(products(self._rows_of_axes, inputs.T).T)
            return np.ascontiguousarray(products(self.points, queries.T).T)
        return self.cosines_of_one(inputs[0])[None]

    def search_one(self, inputs: Float32Array) -> tuple[list[float], float]:
        """What `search` returns for one prompt, up to rounding.

        Args:
            inputs: shape (n_narrow,).
        """
        cosine = self.cosines_of_one(inputs)
        count, columns = self._count, self.values.shape[1]
        near = nearest(cosine, count)
        close = cosine.take(near)
        weight = np.exp(SHARPNESS * close)
        sums = products(self._observed.take(near, axis=0).T, weight).tolist()
        share = count / float(np.add.reduce(weight))
        pairs = zip(sums[:columns], sums[columns:], strict=True)
        values = [share * total / (share * mass + PRIOR_NEIGHBOURS) for total, mass in pairs]
        closest = min(NEAREST, count)
        close.partition(count - closest)
        return values, sum(close[-closest:].tolist()) / closest

    def cosines_of_one(self, inputs: Float32Array) -> Float32Array:
        """Similarity of one prompt to each point, shape (n_points,)."""
        axes, points = self._blocks
        query = axes(inputs)
        return points(query / max(math.sqrt(query @ query), 1e-9))

    @cached_property
    def _blocks(self) -> tuple[Blocks, Blocks]:
        return Blocks(self.axes.T), Blocks(self.points)

    @cached_property
    def _rows_of_axes(self) -> Float32Array:
        return np.ascontiguousarray(self.axes.T)

    @cached_property
    def _observed(self) -> Float32Array:
        """Values and weights of every point side by side, so that one look fetches both."""
        return np.hstack([self.values, self.seen])

    @cached_property
    def _count(self) -> int:
        """Neighbours that give evidence."""
        return min(NEIGHBOURS, max(1, len(self.points) // 4))

    def _around(self, cosine: Float32Array) -> tuple[FloatArray, FloatArray]:
        """The same, from the similarity of n prompts to each point."""
        count = self._count
        near = nearest(cosine, count)
        close = cosine.take(near + cosine.shape[1] * np.arange(len(cosine))[:, None])
        sums = np.einsum("nk,nkm->nm", _weights(close), self._observed.take(near, axis=0))
        columns, closest = self.values.shape[1], min(NEAREST, count)
        values = _shrunk(sums[:, :columns], sums[:, columns:]).astype(np.float64)
        return values, np.partition(close, count - closest)[:, -closest:].sum(axis=1) / np.float64(closest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessParts:
    """The success estimator before its last level.

    Attributes:
        difficulty: from wide inputs to the mean outcome over models, one output.
        level: from `level_inputs` to each model's difference from that mean.
        deviation: from narrow inputs to the rest, one output a model.
        centre, spread: shape (1,); of the difficulty over the training prompts.
    """

    difficulty: Linear
    centre: FloatArray
    spread: FloatArray
    level: Linear
    deviation: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelParts:
    """The label estimator before its last level: a multinomial logistic regression on the label."""

    logits: Linear


@dataclass(frozen=True, kw_only=True)
class LastLevel:
    """One logistic regression per model over its evidence.

    Attributes:
        shared: shape (n_models, n_evidence); weights of the evidence's mean over the models, which says how
            hard the prompt is.
        weights: the same shape; weights of the model's difference from that mean, which alone moves a choice.
        intercept: shape (n_models,).
        table: shape (1 + n_task_types, n_models); log odds of the mean outcome, row 0 over all task types.
            Evidence counts by how far it is above this floor.
    """

    shared: FloatArray
    weights: FloatArray
    intercept: FloatArray
    table: FloatArray

    def probability(self, evidence: FloatArray, task_type: IntArray) -> FloatArray:
        """Calibrated chance of success, shape (n, n_models).

        Args:
            evidence: log odds, shape (n, n_models, n_evidence).
            task_type: shape (n,); -1 for none.
        """
        product, constant = self._joined
        rows = evidence.reshape(len(evidence), -1)
        return sigmoid(_product(rows, product) + constant[task_type + 1])

    @cached_property
    def _joined(self) -> tuple[FloatArray, FloatArray]:
        """What `combined` does with `gains`, as one product and a constant for each row of the table."""
        models, kinds = self.weights.shape
        over_models = np.repeat((self.shared - self.weights)[:, None, :] / models, models, axis=1)
        over_models[np.arange(models), np.arange(models)] += self.weights
        product = over_models.reshape(models, models * kinds)
        floors = np.repeat(self.table, kinds, axis=1)
        return product, self.table + self.intercept - floors @ product.T


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Expected tokens per model.

    Attributes:
        log_tokens: from narrow inputs to log(1 + output tokens).
        smearing: shape (n_models,); corrects the mean after the exponential (Duan 1983).
        most: shape (n_models,); the longest output seen, or what training assumes if none was logged.
        input_ratio: shape (n_models,); the model's input tokens per token of the encoder's.
        tool_ratio, tool_tokens: shape (n_models,); of a request with tools, the ratio, and what it has
            beside, such as the provider's own words about tools.
    """

    log_tokens: Linear
    smearing: FloatArray
    most: FloatArray
    input_ratio: FloatArray
    tool_ratio: FloatArray
    tool_tokens: FloatArray

    def expected(self, features: Features, narrow: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Expected input and output tokens, shape (n, n_models)."""
        return self.input(features), self.output(self.log_tokens(narrow))

    def input(self, features: Features) -> FloatArray:
        """Expected input tokens, shape (n, n_models)."""
        tokens = features.tokens[:, None]
        with_tools = tokens * self.tool_ratio + self.tool_tokens
        return np.where(has_tools(features)[:, None], with_tools, tokens * self.input_ratio)

    def output(self, log_tokens: FloatArray) -> FloatArray:
        """Expected output tokens from log(1 + output tokens), shape (n, n_models)."""
        expected = np.expm1(within(log_tokens, 0.0, np.log1p(self.most))) * self.smearing
        return np.asarray(np.minimum(expected, self.most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The head's prediction for n requests; arrays of shape (n, n_models), familiarity (n,)."""

    probability: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray
    familiarity: FloatArray

    def row(self, index: int) -> Outlook:
        """The prediction for one of them."""
        return Outlook(**{name: getattr(self, name)[index : index + 1] for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedParts:
    """The linear parts of the success estimator and of the lengths, for one product in place of four.

    Attributes:
        weights: shape (1 + 3 * n_models, n_narrow): the difficulty without n-grams; what does not move with
            the difficulty of a deviation, then what does; log(1 + output tokens).
        intercept: shape (1 + 3 * n_models,).
        grams: shape (1, n_grams); the n-grams' part of the difficulty.
    """

    weights: FloatArray
    intercept: FloatArray
    grams: FloatArray

    @staticmethod
    def of(parts: SuccessParts, lengths: Lengths, structures: int) -> JoinedParts:
        """Join the parts.

        Args:
            structures: number of structure features, the last of the narrow inputs.
        """
        narrow, labels = len(parts.deviation.weights), len(parts.level.weights) // 2
        columns = slice(narrow - structures - labels, narrow - structures)
        difficulty = parts.difficulty.weights[:narrow].copy()
        difficulty[narrow - structures :] *= STRUCTURE_SCALE / NARROW_STRUCTURE_SCALE
        level = parts.level.weights * LEVEL_SCALE
        fixed, moving = DEVIATION_SHARE * parts.deviation.weights, np.zeros_like(parts.deviation.weights)
        fixed[columns] += level[1 : 1 + labels] / LABEL_SCALE
        moving[columns] = level[1 + labels :] / LABEL_SCALE
        side_by_side = np.hstack([difficulty, fixed, moving, lengths.log_tokens.weights])
        return JoinedParts(
            weights=np.ascontiguousarray(side_by_side.T),
            intercept=np.concatenate(
                [
                    parts.difficulty.intercept,
                    parts.level.intercept + DEVIATION_SHARE * parts.deviation.intercept,
                    level[0],
                    lengths.log_tokens.intercept,
                ]
            ),
            grams=np.ascontiguousarray(parts.difficulty.weights[narrow:].T),
        )


@dataclass(frozen=True, kw_only=True)
class Head:
    """A whole fitted head; arrays only.

    Attributes:
        added: the models that joined or left since; None: those that it was fitted on.
    """

    scaling: Scaling
    parts: SuccessParts | LabelParts
    last: LastLevel
    store: NeighbourStore
    lengths: Lengths
    added: Added | None = None

    @property
    def kind(self) -> Kind:
        """The estimator."""
        return "success" if isinstance(self.parts, SuccessParts) else "label"

    def predict(self, features: Features) -> Outlook:
        """Predict success, tokens and familiarity of n requests."""
        narrow = narrow_inputs(features, self.scaling)
        near, familiarity = self.store.search(narrow)
        if isinstance(self.parts, SuccessParts):
            evidence, log_tokens = self._evidence(self.parts, features, narrow, near)
        else:
            wide = wide_inputs(features, self.scaling)
            evidence = evidence_of(self.parts, features, wide, narrow, near)
            log_tokens = self.lengths.log_tokens(narrow)
        input_tokens, output_tokens = self._tokens(features, narrow, log_tokens)
        return Outlook(
            probability=self.probability(evidence, features.task_type, narrow),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            familiarity=familiarity,
        )

    def _evidence(
        self, parts: SuccessParts, features: Features, narrow: Float32Array, near: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """What `evidence_of` returns, and log(1 + output tokens), up to rounding."""
        linear = _product(narrow, self.joined.weights) + self.joined.intercept
        difficulty = linear[:, :1] + _product(features.grams, self.joined.grams)
        models = len(self.last.intercept)
        fixed, moving, log_tokens = (linear[:, 1 + i * models : 1 + (i + 1) * models] for i in range(3))
        standard = (difficulty - parts.centre) / parts.spread
        deviation = fixed + standard * moving + DEVIATION_SHARE * near[:, 1:]
        shared = np.hstack([difficulty, parts.centre + near[:, :1]])
        return log_odds(deviation[:, :, None] + shared[:, None, :]), log_tokens

    @cached_property
    def joined(self) -> JoinedParts:
        """The linear parts of a success estimator."""
        assert isinstance(self.parts, SuccessParts)
        return JoinedParts.of(self.parts, self.lengths, len(self.scaling.mean))

    def probability(self, evidence: FloatArray, task_type: IntArray, narrow: Float32Array) -> FloatArray:
        """Calibrated chance of success of the models on offer, shape (n, n_models).

        Args:
            evidence: log odds of the head's own models, as `evidence_of` gives them.
            task_type: shape (n,); -1 for none.
            narrow: as `narrow_inputs` gives them.
        """
        own = self.last.probability(evidence, task_type)
        if self.added is None:
            return own
        return self.added.offered(own, sigmoid(self.added.log_odds(log_odds(own), narrow, task_type)))

    def expected_tokens(self, features: Features, narrow: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Expected input and output tokens of the models on offer, shape (n, n_models)."""
        return self._tokens(features, narrow, self.lengths.log_tokens(narrow))

    def _tokens(
        self, features: Features, narrow: Float32Array, log_tokens: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        inputs, output = self.lengths.input(features), self.lengths.output(log_tokens)
        if self.added is None:
            return inputs, output
        more = self.added.lengths(output, features, narrow)
        return self.added.offered(inputs, more[0]), self.added.offered(output, more[1])

    def to_arrays(self) -> dict[str, AnyArray]:
        """Every array by its dotted name, as in the artifact."""
        return _flatten(self)

    @staticmethod
    def from_arrays(arrays: Mapping[str, AnyArray], kind: Kind) -> Head:
        """The head whose `to_arrays` these are."""
        parts: SuccessParts | LabelParts
        if kind == "success":
            parts = SuccessParts(
                difficulty=_linear(arrays, "parts.difficulty"),
                centre=arrays["parts.centre"],
                spread=arrays["parts.spread"],
                level=_linear(arrays, "parts.level"),
                deviation=_linear(arrays, "parts.deviation"),
            )
        else:
            parts = LabelParts(logits=_linear(arrays, "parts.logits"))
        return Head(
            parts=parts,
            scaling=Scaling(**_named(arrays, "scaling", Scaling)),
            # Format 1 has the same weights for both parts of the evidence.
            last=LastLevel(**_named({"last.shared": arrays["last.weights"], **arrays}, "last", LastLevel)),
            store=NeighbourStore(**_named(arrays, "store", NeighbourStore)),
            lengths=Lengths(
                log_tokens=_linear(arrays, "lengths.log_tokens"),
                smearing=arrays["lengths.smearing"],
                most=arrays["lengths.most"],
                input_ratio=arrays["lengths.input_ratio"],
                # Routers of before December 2026 do not tell requests with tools apart.
                tool_ratio=arrays.get("lengths.tool_ratio", arrays["lengths.input_ratio"]),
                tool_tokens=arrays.get("lengths.tool_tokens", np.zeros(1)),
            ),
            added=Added(**_named(arrays, "added", Added)) if "added.columns" in arrays else None,
        )


def evidence_of(
    parts: SuccessParts | LabelParts,
    features: Features,
    wide: Float32Array,
    narrow: Float32Array,
    near: FloatArray,
) -> FloatArray:
    """Log odds of success from each kind of evidence, shape (n, n_models, n_evidence).

    The success estimator has two: one from the linear difficulty and one from the neighbours', each plus the
    model's level and deviation. The deviation adds the linear head's and the neighbours', each times
    `DEVIATION_SHARE`. The label estimator has one.
    """
    if isinstance(parts, LabelParts):
        return log_odds(softmax(parts.logits(wide)))[:, :, None]
    difficulty = parts.difficulty(wide)
    level = parts.level(level_inputs(features, difficulty, parts.centre, parts.spread))
    deviation = level + DEVIATION_SHARE * (parts.deviation(narrow) + near[:, 1:])
    nearby = parts.centre + near[:, :1]
    return np.stack([log_odds(difficulty + deviation), log_odds(nearby + deviation)], axis=2)


def gains(evidence: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Split what the evidence adds to the table of means into a mean over models and differences from it.

    The two need weights of their own because they are not known equally well. Every outcome on a prompt tells
    how hard it is. A difference between models is small, and hardly visible if the log tried one model on the
    prompt. One weight for both would trust the differences as much as the difficulty, and choose by noise.

    Args:
        evidence: log odds, shape (n, n_models, n_evidence).
        floor: log odds, shape (n, n_models).

    Returns:
        Shapes (n, 1, n_evidence) and (n, n_models, n_evidence).
    """
    gain = evidence - floor[:, :, None]
    shared = gain.mean(axis=1, keepdims=True)
    return shared, gain - shared


def combined(
    gain: tuple[FloatArray, FloatArray],
    floor: FloatArray,
    shared: FloatArray,
    weights: FloatArray,
    intercept: FloatArray,
) -> FloatArray:
    """Chance of success, shape (n, n_models), from the floor and the weighted `gains` above it."""
    return sigmoid(floor + (gain[0] * shared + gain[1] * weights).sum(axis=2) + intercept)


def has_tools(features: Features) -> BoolArray:
    """Whether each request has tools, shape (n,)."""
    return np.asarray((features.structure[:, TOOLS_COLUMN : TOOLS_COLUMN + 1] > 0).any(axis=1))


def wide_inputs(features: Features, scaling: Scaling) -> Float32Array:
    """All features, for what the models share; shape (n, n_wide)."""
    structure = STRUCTURE_SCALE * scaling.standard(features.structure)
    blocks = [features.embedding, LABEL_SCALE * features.labels, structure, features.grams]
    return np.hstack(blocks).astype(np.float32, copy=False)


def narrow_inputs(features: Features, scaling: Scaling) -> Float32Array:
    """All features except n-grams, for differences between models and for neighbours; (n, n_narrow)."""
    structure = NARROW_STRUCTURE_SCALE * scaling.standard(features.structure)
    blocks = [features.embedding, LABEL_SCALE * features.labels, structure]
    return np.hstack(blocks).astype(np.float32, copy=False)


def level_inputs(
    features: Features, difficulty: FloatArray, centre: FloatArray, spread: FloatArray
) -> FloatArray:
    """Difficulty, labels, and their products; shape (n, 1 + 2 * n_labels)."""
    standard = (difficulty - centre) / spread
    return np.hstack(
        [LEVEL_SCALE * standard, LEVEL_SCALE * features.labels, LEVEL_SCALE * features.labels * standard]
    )


def nearest(cosine: Float32Array, count: int) -> IntArray:
    """Columns of the `count` highest entries of each row, or of one, in no order; shape (..., count)."""
    entries = cosine.shape[-1]
    if count >= entries:
        return np.broadcast_to(np.arange(entries), cosine.shape)
    return cosine.argpartition(entries - count)[..., -count:]


def neighbour_means(
    close: AnyArray, values: AnyArray, seen: AnyArray, level: AnyArray | float = 0.0
) -> AnyArray:
    """Weighted means over k neighbours, shrunk to `level` as if `PRIOR_NEIGHBOURS` more had that value.

    Args:
        close: shape (n, k); cosines.
        values: shape (n, k, m); each multiplied by its weight in `seen`.
        seen: the same shape; 0 where nothing was observed.
        level: shape (m,), or one number for all.

    Returns:
        Shape (n, m).
    """
    weight = _weights(close)
    total, mass = (np.einsum("nk,nkm->nm", weight, each) for each in (values, seen))
    return _shrunk(total, mass, level)


def _weights(close: AnyArray) -> AnyArray:
    """Weights of k neighbours by their cosines, shape (..., k); each row adds up to k."""
    weight = np.exp(SHARPNESS * (close - close.max(axis=-1, keepdims=True)))
    weight *= close.shape[-1] / weight.sum(axis=-1, keepdims=True)
    return np.asarray(weight)


def _shrunk(total: AnyArray, mass: AnyArray, level: AnyArray | float = 0.0) -> AnyArray:
    return np.asarray((total + PRIOR_NEIGHBOURS * level) / (mass + PRIOR_NEIGHBOURS))


def unit(rows: Float32Array) -> Float32Array:
    """Scale rows to length 1; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-9), dtype=np.float32)


def within(values: AnyArray, least: float, most: AnyArray | float) -> AnyArray:
    """Cut values to a range, like `np.clip` with a fraction of its overhead on one row."""
    return np.minimum(np.maximum(values, least), most)


def log_odds(probability: FloatArray) -> FloatArray:
    """Log odds of a probability clipped to [CLIP, 1 - CLIP]."""
    clipped = within(probability, CLIP, 1.0 - CLIP)
    return np.log(clipped / (1.0 - clipped))


def sigmoid(log: FloatArray) -> FloatArray:
    """The probability of log odds."""
    return 1.0 / (1.0 + np.exp(-within(log, -30, 30)))


def softmax(logits: FloatArray) -> FloatArray:
    """Class probabilities, rows summing to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _product(inputs: AnyArray, weights: FloatArray) -> FloatArray:
    """`inputs @ weights.T`, shape (n, n_outputs); for a few rows on this thread alone."""
    if len(inputs) > FEW:
        return np.asarray(inputs @ weights.T)
    if len(inputs) > 1:
        return products(weights, inputs.T.astype(np.float64)).T
    return np.asarray(products(weights, inputs[0].astype(np.float64)))[None]


def _flatten(value: Json, prefix: str = "") -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray] = {}
    for part in fields(value):
        inner = getattr(value, part.name)
        name = f"{prefix}{part.name}"
        if inner is None:
            continue
        arrays.update(_flatten(inner, f"{name}.") if is_dataclass(inner) else {name: inner})
    return arrays


def _named(arrays: Mapping[str, AnyArray], prefix: str, kind: type) -> dict[str, AnyArray]:
    return {part.name: arrays[f"{prefix}.{part.name}"] for part in fields(kind)}


def _linear(arrays: Mapping[str, AnyArray], prefix: str) -> Linear:
    return Linear(**_named(arrays, prefix, Linear))
