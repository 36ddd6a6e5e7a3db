"""Ridge regression along a path of penalties, with exact leave-one-out predictions in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from router.forecasting.head import AnyArray, Linear
from router.records import FloatArray
from training.statistics.blocks import Index, Streamed, blocks, evenly

PENALTIES: FloatArray = np.logspace(-1.0, 4.5, 23)
BLOCK = 2048
"""Rows whose leave-one-out residuals at every penalty are in memory at a time."""
SEARCHED = 20_000
"""Rows of a streamed design on which its penalty is chosen."""
_GRAM_NUMBERS = 1 << 25
"""Numbers in the Gram matrices that one pass over a streamed design adds up."""
_SPARSE = 1 / 16


def is_sparse(weight: FloatArray) -> bool:
    """Whether few entries were observed, as in a log of many models, so that only those should cost time."""
    return bool(np.count_nonzero(weight) < _SPARSE * weight.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgePath:
    """The solutions for k targets in the eigenbasis of one weighted design; each penalty costs one division.

    Attributes:
        mean: shape (p,); weighted mean of the inputs.
        basis: shape (p, r); eigenvectors of the weighted Gram matrix, in columns; r < p if only those count.
        scores: shape (n, r); the centred inputs in that basis, made anew at each reading if streamed.
        eigenvalues: shape (r,).
        moments: shape (r, k); scores times weighted, centred targets.
        target_mean: shape (k,).
        weight: shape (n,); weight of each row.
    """

    mean: FloatArray
    basis: FloatArray
    scores: AnyArray | Streamed
    eigenvalues: FloatArray
    moments: FloatArray
    target_mean: FloatArray
    weight: FloatArray

    @staticmethod
    def of(
        inputs: AnyArray | Streamed, targets: FloatArray, weight: FloatArray, *, dual: bool = False
    ) -> RidgePath:
        """Decompose a design: inputs (n, p), targets (n, k), weight (n,); without rows the solution is 0.

        Args:
            dual: decompose the rows' products, of shape (n, n), which has the same solutions and is much
                cheaper if rows are few.
        """
        if isinstance(inputs, Streamed):
            columns = list(range(targets.shape[1]))
            return next(_summed(inputs, targets, np.broadcast_to(weight[:, None], targets.shape), [columns]))
        total = weight.sum() or 1.0
        mean = (weight @ inputs) / total
        centred = inputs - mean.astype(inputs.dtype)
        eigenvalues, basis = (_dual_eigen if dual else _eigen)(centred, weight)
        scores = centred @ basis.astype(inputs.dtype)
        design = RidgePath(
            mean=mean,
            basis=basis,
            scores=scores,
            eigenvalues=np.maximum(eigenvalues, 0.0),
            moments=np.empty((0, 0)),
            target_mean=np.empty(0),
            weight=weight,
        )
        return design.with_targets(targets)

    def with_targets(self, targets: FloatArray) -> RidgePath:
        """The solutions for other targets, shape (n, k), on the same rows and weights, not streamed."""
        assert not isinstance(self.scores, Streamed)
        mean = (self.weight @ targets) / (self.weight.sum() or 1.0)
        moments = self.scores.T.astype(np.float64) @ (self.weight[:, None] * (targets - mean))
        return replace(self, moments=moments, target_mean=mean)

    def solution(self, penalty: float) -> Linear:
        """The head at one penalty."""
        weights = self.basis @ (self.moments / (self.eigenvalues + penalty)[:, None])
        return Linear(weights=weights, intercept=self.target_mean - self.mean @ weights)

    def leave_one_out(self, targets: FloatArray, penalty: float) -> FloatArray:
        """Predict each row with the head fitted without it; shape (n, k).

        The residual divided by one minus the leverage (Hastie, Tibshirani & Friedman 2009, eq. 7.64).
        """
        streamed = isinstance(self.scores, Streamed)
        parts = [
            targets[rows] - self._left_out(targets, rows, np.array([penalty]))[:, :, 0]
            for rows in (blocks(len(targets)) if streamed else [slice(None)])
        ]
        return np.asarray(np.concatenate(parts))

    def best_penalty(self, targets: FloatArray) -> float:
        """The penalty with the least weighted leave-one-out squared error over all targets.

        Of a streamed design, some of the observed rows are enough to choose it.
        """
        errors = np.zeros(len(PENALTIES))
        for rows in self._searched():
            squared = np.square(self._left_out(targets, rows, PENALTIES)).sum(axis=1)
            errors += self.weight[rows] @ squared
        return float(PENALTIES[int(np.argmin(errors))])

    def _searched(self) -> Iterator[Index]:
        """The rows on which a penalty is chosen, a block at a time."""
        if not isinstance(self.scores, Streamed):
            yield from (slice(start, start + BLOCK) for start in range(0, len(self.weight), BLOCK))
            return
        observed = np.flatnonzero(self.weight > 0)
        observed = observed[evenly(len(observed), SEARCHED)]
        yield from (observed[start : start + BLOCK] for start in range(0, len(observed), BLOCK))

    def _left_out(self, targets: FloatArray, rows: Index, penalties: FloatArray) -> FloatArray:
        """Leave-one-out residuals of some rows, shape (n_rows, k, n_penalties), in one pass over them."""
        return self.residuals(self.scores[rows], targets[rows], self.weight[rows], penalties)

    def residuals(
        self, scores: AnyArray, targets: FloatArray, weight: FloatArray, penalties: FloatArray
    ) -> FloatArray:
        """Leave-one-out residuals of some rows at each penalty, shape (n_rows, k, n_penalties)."""
        inverse = 1.0 / (self.eigenvalues[:, None] + penalties)
        solutions = self.moments[:, :, None] * inverse[:, None, :]
        fitted = np.tensordot(scores.astype(np.float64), solutions, axes=1)
        own = weight[:, None] * (1.0 / (self.weight.sum() or 1.0) + scores**2 @ inverse)
        residual = (targets - self.target_mean)[:, :, None] - fitted
        return np.asarray(residual / (1.0 - np.minimum(own, 0.99))[:, None, :])


@dataclass(frozen=True, kw_only=True)
class RidgeHeads:
    """One ridge regression per column of the targets, each on its own observed rows.

    Columns with the same weights share one decomposition; complete ones of weight 1 also share one penalty.

    Attributes:
        weight: shape (n, k); weight of each target, 0 if it was not observed.
    """

    paths: tuple[RidgePath, ...]
    inputs: AnyArray | Streamed
    targets: FloatArray
    weight: FloatArray

    @staticmethod
    def of(inputs: AnyArray | Streamed, targets: FloatArray, weight: FloatArray) -> RidgeHeads:
        """Decompose for inputs (n, p), targets (n, k) and their weights (n, k)."""
        if isinstance(inputs, Streamed):
            paths = streamed_paths(inputs, targets, weight)
            return RidgeHeads(paths=tuple(paths), inputs=inputs, targets=targets, weight=weight)
        together = [slice(None)] if _alike(weight) else [slice(k, k + 1) for k in range(weight.shape[1])]
        sparse = is_sparse(weight)
        decomposed: dict[bytes, RidgePath] = {}
        paths = []
        for columns in together:
            own = weight[:, columns][:, 0]
            seen = own > 0
            y = targets[seen, columns]
            dual = sparse and np.count_nonzero(seen) < inputs.shape[1]
            same = decomposed.get(own.tobytes())
            path = same.with_targets(y) if same else RidgePath.of(inputs[seen], y, own[seen], dual=dual)
            decomposed[own.tobytes()] = path
            paths.append(path)
        return RidgeHeads(paths=tuple(paths), inputs=inputs, targets=targets, weight=weight)

    @cached_property
    def penalties(self) -> tuple[float, ...]:
        """The best penalty of each path; heads of a given penalty never need the search."""
        if _alike(self.weight):
            return (self.paths[0].best_penalty(self.targets),)
        if isinstance(self.inputs, Streamed):
            return tuple(p.best_penalty(self.targets[:, k : k + 1]) for k, p in enumerate(self.paths))
        observed = (self.targets[seen, k : k + 1] for k, seen in enumerate((self.weight > 0).T))
        return tuple(path.best_penalty(y) for path, y in zip(self.paths, observed, strict=True))

    def solution(self, penalty: float | None = None) -> Linear:
        """The heads at one penalty, or each at its best for squared error; weights of shape (p, k)."""
        penalties = self.penalties if penalty is None else [penalty] * len(self.paths)
        heads = [path.solution(one) for path, one in zip(self.paths, penalties, strict=True)]
        return Linear(
            weights=np.hstack([head.weights for head in heads]),
            intercept=np.concatenate([head.intercept for head in heads]),
        )

    def leave_one_out(self) -> FloatArray:
        """Predict observed entries without their own row and the others as fitted; shape (n, k)."""
        if _alike(self.weight):
            return self.paths[0].leave_one_out(self.targets, self.penalties[0])
        if isinstance(self.inputs, Streamed):
            return np.concatenate(
                [self._left_out(self.inputs[rows], rows) for rows in blocks(len(self.inputs))]
            )
        out = self.solution()(self.inputs)
        for k, (path, penalty) in enumerate(zip(self.paths, self.penalties, strict=True)):
            rows = self.weight[:, k] > 0
            out[rows, k] = path.leave_one_out(self.targets[rows][:, [k]], penalty)[:, 0]
        return out

    def _left_out(self, inputs: AnyArray, rows: slice) -> FloatArray:
        """`leave_one_out` of one block of a streamed design, read once for all columns."""
        out, solution = np.empty((len(inputs), len(self.paths))), self.solution()
        out[:] = solution(inputs)
        for k, (path, penalty) in enumerate(zip(self.paths, self.penalties, strict=True)):
            seen = self.weight[rows, k] > 0
            targets, weight = self.targets[rows, k : k + 1][seen], self.weight[rows, k][seen]
            scores = _scores(inputs[seen], path.mean, path.basis)
            out[seen, k] = (targets - path.residuals(scores, targets, weight, np.array([penalty]))[:, :, 0])[
                :, 0
            ]
        return out


def streamed_paths(inputs: Streamed, targets: FloatArray, weight: FloatArray) -> list[RidgePath]:
    """The paths of `RidgeHeads`, from sums over blocks of rows: memory does not grow with the rows.

    Args:
        targets, weight: shape (n, k).
    """
    same: dict[bytes, list[int]] = {}
    for k, column in enumerate(weight.T):
        same.setdefault(column.tobytes(), []).append(k)
    groups = list(same.values())
    most = max(1, _GRAM_NUMBERS // inputs.shape[1] ** 2)
    parts = [groups[start : start + most] for start in range(0, len(groups), most)]
    paths = [path for part in parts for path in _summed(inputs, targets, weight, part)]
    if _alike(weight):
        return paths
    alone = {
        k: replace(path, moments=path.moments[:, [number]], target_mean=path.target_mean[[number]])
        for columns, path in zip(groups, paths, strict=True)
        for number, k in enumerate(columns)
    }
    return [alone[k] for k in range(len(alone))]


def _summed(
    inputs: Streamed, targets: FloatArray, weight: FloatArray, groups: Sequence[list[int]]
) -> Iterator[RidgePath]:
    """One path for each group of columns that have the same weights."""
    width = inputs.shape[1]
    sums, grams = np.zeros((len(groups), width)), np.zeros((len(groups), width, width))
    products = [np.zeros((width, len(columns))) for columns in groups]
    for rows in blocks(len(inputs)):
        block = inputs[rows]
        for group, columns in enumerate(groups):
            own = weight[rows, columns[0]]
            seen = own > 0
            own, x, y = own[seen], block[seen], targets[rows][seen][:, columns]
            sums[group] += own @ x
            grams[group] += (x * own[:, None].astype(x.dtype)).T @ x
            products[group] += x.T @ (own[:, None] * y)
    for group, columns in enumerate(groups):
        own = weight[:, columns[0]]
        total = own.sum() or 1.0
        mean, target_mean = sums[group] / total, (own @ targets[:, columns]) / total
        eigenvalues, basis = np.linalg.eigh(grams[group] - total * np.outer(mean, mean))
        yield RidgePath(
            mean=mean,
            basis=basis,
            scores=Streamed(shape=inputs.shape, read=partial(_read_scores, inputs, mean, basis)),
            eigenvalues=np.maximum(eigenvalues, 0.0),
            moments=basis.T @ (products[group] - np.outer(sums[group], target_mean)),
            target_mean=target_mean,
            weight=own,
        )


def _read_scores(inputs: Streamed, mean: FloatArray, basis: FloatArray, rows: Index) -> AnyArray:
    return _scores(inputs[rows], mean, basis)


def _scores(inputs: AnyArray, mean: FloatArray, basis: FloatArray) -> AnyArray:
    """The centred inputs in a basis, at the inputs' own precision."""
    return np.asarray((inputs - mean.astype(inputs.dtype)) @ basis.astype(inputs.dtype))


def _eigen(centred: AnyArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues and eigenvectors of the weighted Gram matrix of centred inputs (n, p)."""
    gram = (centred * weight[:, None].astype(centred.dtype)).T @ centred
    eigenvalues, basis = np.linalg.eigh(gram.astype(np.float64))
    return eigenvalues, basis


def _dual_eigen(centred: AnyArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Those of `_eigen` above 0, from the rows' products: each v is X'u over the root of its eigenvalue."""
    rows = np.sqrt(weight)[:, None] * centred.astype(np.float64)
    eigenvalues, left = np.linalg.eigh(rows @ rows.T)
    above = eigenvalues > 1e-9 * eigenvalues.max(initial=0.0)
    return eigenvalues[above], rows.T @ left[:, above] / np.sqrt(eigenvalues[above])


def _alike(weight: FloatArray) -> bool:
    """Whether every target was observed with weight 1."""
    return bool((weight == 1.0).all())
