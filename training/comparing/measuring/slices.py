"""Which prompts belong together, so that a loss on some of them does not hide in the mean of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from router.numbers import level
from router.records import BoolArray, FloatArray, IntArray, Request, message_texts
from training.comparing.evaluated import Evaluated
from training.prompts.languages import languages
from training.statistics.intervals import cluster_numbers

MOST_SLICES = 40
"""Of one dimension, `OTHER` included."""
RARE = 5
"""A task type or tag with fewer clusters goes to `OTHER`."""
RARE_LANGUAGE = 30
"""The same for a language: a rare one is often another language misread."""
OTHER = "(other)"
NONE = "(none)"

LENGTH_EDGES = (200, 1_000, 4_000, 16_000)
"""Characters; with some four to a token, 50, 250, 1,000 and 4,000 tokens."""
CONFIDENCE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the prompts.

    Attributes:
        dimension: as in `SliceResult`.
        rows: shape (n,); whether each prompt is in it.
        clusters: number of clusters that its prompts belong to.
    """

    dimension: str
    name: str
    rows: BoolArray
    clusters: int


def slices_of(evaluated: Evaluated) -> list[Slice]:
    """Every slice of the compared prompts; a dimension in which all prompts are alike has none.

    A prompt is in one slice of each dimension, but in one for each of its tags. In a long log, only a sample
    of the prompts is in a slice of the dimension "language".
    """
    requests, clusters = evaluated.requests, evaluated.clusters
    texts = [length_text(request) for request in requests]
    by_name: list[tuple[str, Sequence[Sequence[str]], int]] = [
        ("task type", [[request.task_type or NONE] for request in requests], RARE),
        ("tag", [sorted(set(request.tags)) or [NONE] for request in requests], RARE),
        ("language", languages(requests), RARE_LANGUAGE),
    ]
    tools = [["with tools" if request.tools else "without tools"] for request in requests]
    return [
        *(
            one
            for dimension, names, rare in by_name
            for one in named_slices(dimension, names, clusters, rare)
        ),
        *binned_slices("length", np.array([len(text) for text in texts]), LENGTH_EDGES, clusters),
        *named_slices("tools", tools, clusters, 0),
        *named_slices("decision source", [[source] for source in evaluated.source], clusters, 0),
        *binned_slices("confidence", evaluated.confidence, CONFIDENCE_EDGES, clusters),
    ]


def named_slices(
    dimension: str, names: Sequence[Sequence[str]], clusters: IntArray, rare: int
) -> list[Slice]:
    """A slice for each name, the most frequent first, and `OTHER` for rare names and those beyond the limit.

    Args:
        names: of each prompt; several, or none if the prompt is in no slice of the dimension.
        clusters: shape (n,).
        rare: number of clusters that a name needs for a slice of its own.
    """
    count = Counter(name for row in names for name in row)
    if len(count) < 2:
        return []
    place = {name: number for number, (name, _) in enumerate(sorted(count.items(), key=_most_first))}
    at, row = np.array(
        [(place[name], row) for row, named in enumerate(names) for name in named], dtype=np.int64
    ).T
    number, n_clusters = cluster_numbers(clusters)
    spread = np.bincount(np.unique(at * n_clusters + number[row]) // n_clusters, minlength=len(place))
    order = np.array(list(place), dtype=object)
    kept = np.flatnonzero((spread >= rare) & (order != OTHER))
    kept = kept if len(kept) == len(place) <= MOST_SLICES else kept[: MOST_SLICES - 1]
    new = np.full(len(place), len(kept), dtype=np.int64)
    new[kept] = np.arange(len(kept))
    slices = list(_slices(dimension, [*order[kept], OTHER], (new[at], row), (number, len(names))))
    return slices if len(slices) > 1 else []


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def binned_slices(
    dimension: str, values: FloatArray | IntArray, edges: Sequence[float], clusters: IntArray
) -> list[Slice]:
    """A slice for each filled bin between fixed edges; an edge belongs to the bin above it.

    The edges are not quantiles of this log, so that the same slice can be followed from report to report.
    """
    at = np.searchsorted(np.asarray(edges), values, side="right")
    names = list(_bin_names(dimension, edges))
    filled = np.unique(at)
    if len(filled) < 2:
        return []
    number, _ = cluster_numbers(clusters)
    return list(_slices(dimension, names, (at, np.arange(len(at))), (number, len(at))))


def _bin_names(dimension: str, edges: Sequence[float]) -> Iterator[str]:
    if dimension == "length":
        yield f"under {edges[0]:,} characters"
        yield from (f"{low:,} to {high - 1:,} characters" for low, high in pairwise(edges))
        yield f"{edges[-1]:,} characters and more"
        return
    yield f"below {level(edges[0])}"
    yield from (f"{level(low)} to {level(high)}" for low, high in pairwise(edges))
    yield f"{level(edges[-1])} and more"


def _slices(
    dimension: str, names: Sequence[str], members: tuple[IntArray, IntArray], clusters: tuple[IntArray, int]
) -> Iterator[Slice]:
    """A slice for each of the `names` that has prompts.

    Args:
        members: places of names, and the rows in their slices.
        clusters: number of each row's cluster, and number of rows.
    """
    at, row = members
    for place, name in enumerate(names):
        rows = np.zeros(clusters[1], dtype=bool)
        rows[row[at == place]] = True
        if rows.any():
            yield Slice(dimension=dimension, name=name, rows=rows, clusters=len(np.unique(clusters[0][rows])))


def length_text(request: Request) -> str:
    """The text of all messages."""
    return "".join(text for _, text in message_texts(request.messages))
