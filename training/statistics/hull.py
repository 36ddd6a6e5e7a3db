"""The non-decreasing convex hull of a cost-quality curve, and the mean quality under it."""

from __future__ import annotations

import numpy as np

from router.records import BoolArray, FloatArray, IntArray


def hull(cost: FloatArray, success: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices of the non-decreasing convex hull of a curve (Hu et al. 2024, arXiv 2403.12031, section 3).

    It is the least concave function that never falls and lies on or above every point. A policy reaches any
    point on it by choosing at random between two points of the curve, or by paying more for the same.

    Args:
        cost: shape (..., n_points), in any order.
        success: shape (..., n_points).

    Returns:
        Cost and success of the vertices by rising cost, both of shape (..., n_points); a hull with fewer
        vertices repeats its last one.
    """
    shape = cost.shape
    cost, success = cost.reshape(-1, shape[-1]), success.reshape(-1, shape[-1])
    order = np.argsort(cost, axis=1, kind="stable")
    cost = np.take_along_axis(cost, order, axis=1)
    success = np.maximum.accumulate(np.take_along_axis(success, order, axis=1), axis=1)
    vertex = _upper_hull(cost, success)
    ends = np.take_along_axis(cost, vertex, axis=1), np.take_along_axis(success, vertex, axis=1)
    return ends[0].reshape(shape), ends[1].reshape(shape)


def gain_over_mix(router: tuple[FloatArray, FloatArray], cost: FloatArray, success: FloatArray) -> FloatArray:
    """Success of a router less that of the best mix of single models at random that costs no more.

    That mix is RouterBench's zero router (Hu et al. 2024, section 3). A router that costs less than every
    model is held against the cheapest vertex.

    Args:
        router: cost and success, shape (...) each.
        cost: shape (..., n_models).
        success: shape (..., n_models).

    Returns:
        Shape (...), in the unit of `success`.
    """
    at, own = router
    x, y = hull(cost, success)
    place = np.clip((x <= at[..., None]).sum(axis=-1) - 1, 0, max(x.shape[-1] - 2, 0))[..., None]
    after = np.minimum(place + 1, x.shape[-1] - 1)
    left, right = np.take_along_axis(x, place, -1)[..., 0], np.take_along_axis(x, after, -1)[..., 0]
    low, high = np.take_along_axis(y, place, -1)[..., 0], np.take_along_axis(y, after, -1)[..., 0]
    run = right - left
    part = np.where(run > 0, (at - left) / np.where(run > 0, run, 1.0), at >= right)
    reached: FloatArray = low + np.clip(part, 0.0, 1.0) * (high - low)
    return np.asarray(own - reached, dtype=np.float64)


def mix_at(at: float, cost: FloatArray, success: FloatArray) -> list[int]:
    """The one or two models of the best mix that costs `at`, the larger share first.

    Args:
        cost: shape (n_models,).
        success: shape (n_models,).
    """
    x, y = hull(cost[None], success[None])
    enough = [np.flatnonzero((cost <= one) & (success >= best)) for one, best in zip(x[0], y[0], strict=True)]
    models = [int(places[np.argmin(cost[places])]) for places in enough]
    place = int(np.clip((x[0] <= at).sum() - 1, 0, len(models) - 1))
    after = min(place + 1, len(models) - 1)
    run = x[0, after] - x[0, place]
    share = float(np.clip((at - x[0, place]) / run, 0.0, 1.0)) if run > 0 else 0.0
    parts = sorted([(share, models[after]), (1 - share, models[place])], reverse=True)
    return list(dict.fromkeys(model for part, model in parts if part > 0))


def _upper_hull(x: FloatArray, y: FloatArray) -> IntArray:
    """Index of each row's hull vertices, filled up with the last one; rows rise in x and in y.

    Andrew's monotone chain (1979), on all rows at once: a point removes the previous vertices that lie on or
    below the line to it.
    """
    n_rows, n_points = x.shape
    stack = np.zeros((n_rows, n_points), dtype=np.int64)
    size = np.ones(n_rows, dtype=np.int64)
    for point in range(1, n_points):
        rows = np.arange(n_rows)
        while len(rows := rows[_removes(x, y, stack, size, rows, point)]):
            size[rows] -= 1
        stack[np.arange(n_rows), size] = point
        size += 1
    place = np.minimum(np.arange(n_points), size[:, None] - 1)
    return np.take_along_axis(stack, place, axis=1)


def _removes(
    x: FloatArray, y: FloatArray, stack: IntArray, size: IntArray, rows: IntArray, point: int
) -> BoolArray:
    """Whether `point` removes the last vertex of each of the `rows`."""
    held = size[rows]
    last, before = stack[rows, held - 1], stack[rows, np.maximum(held - 2, 0)]
    over, up = x[rows, last] - x[rows, before], y[rows, last] - y[rows, before]
    on_or_below = over * (y[rows, point] - y[rows, before]) >= up * (x[rows, point] - x[rows, before])
    alone = x[rows, point] <= x[rows, last]
    removed: BoolArray = (held > 0) & np.where(held > 1, on_or_below, alone)
    return removed


def aiq(success: FloatArray, cost: FloatArray, cheapest: FloatArray, dearest: FloatArray) -> FloatArray:
    """Average improvement in quality: mean height of a curve's hull between two costs.

    Hu et al. 2024 (arXiv 2403.12031, section 3): the area under the non-decreasing convex hull over
    [c_min, c_max], divided by c_max - c_min. Here c_min and c_max are the mean costs of the cheapest and of
    the dearest single model, the same for every curve of a comparison. Beyond its dearest point a curve stays
    at its highest success. Below its cheapest point it falls on a straight line to no success at no cost (the
    paper's null router), which is added after the hull is computed, so that it never lifts the curve itself.

    Args:
        success: shape (..., n_points), of the curve.
        cost: shape (..., n_points).
        cheapest: shape (...), c_min in the unit of `cost`.
        dearest: shape (...), c_max.

    Returns:
        Shape (...), in the unit of `success`; NaN unless `dearest` is above `cheapest`.
    """
    x, y = hull(cost, success)
    reach = np.maximum(x[..., -1:], dearest[..., None])
    nothing = np.zeros_like(reach)
    x = np.concatenate([nothing, x, reach], axis=-1)
    y = np.concatenate([nothing, y, y[..., -1:]], axis=-1)
    width = dearest - cheapest
    wide = width > 0
    area = _area(x, y, cheapest[..., None], dearest[..., None])
    return np.where(wide, area / np.where(wide, width, 1.0), np.nan)


def _area(x: FloatArray, y: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Area under the lines between the points (x, y), x rising along the last axis, from `low` to `high`."""
    left, right = x[..., :-1], x[..., 1:]
    run = right - left
    slope = np.diff(y, axis=-1) / np.where(run > 0, run, 1.0)
    start, end = np.clip(left, low, high), np.clip(right, low, high)
    height = y[..., :-1] + slope * ((start + end) / 2 - left)
    area: FloatArray = (height * (end - start)).sum(axis=-1)
    return area
