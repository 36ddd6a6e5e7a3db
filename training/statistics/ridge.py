"""Ridge regression along a path of penalties, with exact leave-one-out predictions in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from router.forecasting.head import AnyArray, Linear
from router.records import FloatArray

PENALTIES: FloatArray = np.logspace(-1.0, 4.5, 23)
BLOCK = 2048
"""Rows whose leave-one-out residuals at every penalty are in memory at a time."""
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
        scores: shape (n, r); the centred inputs in that basis.
        eigenvalues: shape (r,).
        moments: shape (r, k); scores times weighted, centred targets.
        target_mean: shape (k,).
        weight: shape (n,); weight of each row.
    """

    mean: FloatArray
    basis: FloatArray
    scores: FloatArray
    eigenvalues: FloatArray
    moments: FloatArray
    target_mean: FloatArray
    weight: FloatArray

    @staticmethod
    def of(inputs: AnyArray, targets: FloatArray, weight: FloatArray, *, dual: bool = False) -> RidgePath:
        """Decompose a design: inputs (n, p), targets (n, k), weight (n,); without rows the solution is 0.

        Args:
            dual: decompose the rows' products, of shape (n, n), which has the same solutions and is much
                cheaper if rows are few.
        """
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
        """The solutions for other targets, shape (n, k), on the same rows and weights."""
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
        return np.asarray(targets - self._left_out(targets, slice(None), np.array([penalty]))[:, :, 0])

    def best_penalty(self, targets: FloatArray) -> float:
        """The penalty with the least weighted leave-one-out squared error over all targets."""
        errors = np.zeros(len(PENALTIES))
        for start in range(0, len(targets), BLOCK):
            rows = slice(start, start + BLOCK)
            squared = np.square(self._left_out(targets, rows, PENALTIES)).sum(axis=1)
            errors += self.weight[rows] @ squared
        return float(PENALTIES[int(np.argmin(errors))])

    def _left_out(self, targets: FloatArray, rows: slice, penalties: FloatArray) -> FloatArray:
        """Leave-one-out residuals of some rows, shape (n_rows, k, n_penalties), in one pass over them."""
        scores = self.scores[rows]
        inverse = 1.0 / (self.eigenvalues[:, None] + penalties)
        solutions = self.moments[:, :, None] * inverse[:, None, :]
        fitted = np.tensordot(scores.astype(np.float64), solutions, axes=1)
        own = self.weight[rows, None] * (1.0 / (self.weight.sum() or 1.0) + scores**2 @ inverse)
        residual = (targets[rows] - self.target_mean)[:, :, None] - fitted
        return np.asarray(residual / (1.0 - np.minimum(own, 0.99))[:, None, :])


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeHeads:
    """One ridge regression per column of the targets, each on its own observed rows.

    Columns with the same weights share one decomposition; complete ones of weight 1 also share one penalty.

    Attributes:
        weight: shape (n, k); weight of each target, 0 if it was not observed.
    """

    paths: tuple[RidgePath, ...]
    penalties: tuple[float, ...]
    inputs: AnyArray
    targets: FloatArray
    weight: FloatArray

    @staticmethod
    def of(inputs: AnyArray, targets: FloatArray, weight: FloatArray) -> RidgeHeads:
        """Decompose for inputs (n, p), targets (n, k) and their weights (n, k)."""
        together = [slice(None)] if _alike(weight) else [slice(k, k + 1) for k in range(weight.shape[1])]
        sparse = is_sparse(weight)
        decomposed: dict[bytes, RidgePath] = {}
        paths, penalties = [], []
        for columns in together:
            own = weight[:, columns][:, 0]
            seen = own > 0
            y = targets[seen, columns]
            dual = sparse and np.count_nonzero(seen) < inputs.shape[1]
            same = decomposed.get(own.tobytes())
            path = same.with_targets(y) if same else RidgePath.of(inputs[seen], y, own[seen], dual=dual)
            decomposed[own.tobytes()] = path
            paths.append(path)
            penalties.append(path.best_penalty(y))
        return RidgeHeads(
            paths=tuple(paths), penalties=tuple(penalties), inputs=inputs, targets=targets, weight=weight
        )

    def solution(self, penalty: float | None = None) -> Linear:
        """The heads at one penalty, or each at its best for squared error; weights of shape (p, k)."""
        heads = [
            path.solution(penalty or best) for path, best in zip(self.paths, self.penalties, strict=True)
        ]
        return Linear(
            weights=np.hstack([head.weights for head in heads]),
            intercept=np.concatenate([head.intercept for head in heads]),
        )

    def leave_one_out(self) -> FloatArray:
        """Predict observed entries without their own row and the others as fitted; shape (n, k)."""
        if _alike(self.weight):
            return self.paths[0].leave_one_out(self.targets, self.penalties[0])
        out = self.solution()(self.inputs)
        for k, (path, penalty) in enumerate(zip(self.paths, self.penalties, strict=True)):
            rows = self.weight[:, k] > 0
            out[rows, k] = path.leave_one_out(self.targets[rows][:, [k]], penalty)[:, 0]
        return out


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
