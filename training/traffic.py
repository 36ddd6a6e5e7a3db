"""Whether the prompts that a router serves are like those that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from router.forecasting.features import embedded_text
from router.forecasting.head import narrow_inputs, unit
from router.numbers import decimal, rate
from router.records import FloatArray
from router.version import Version
from training.progress import Reporter
from training.prompts.embeddings import encode_all
from training.prompts.from_logs import EMBEDDINGS
from training.prompts.table import stored_request
from training.statistics.sequential import novelty

TrafficKind = Literal["prompts", "task type", "unfamiliar", "stepped aside"]
SHARE_TOLERANCE = 0.05
"""A share of the prompts counts as training's if it is higher by at most this much."""
NEW_TOLERANCE = 0.02
"""The prompts count as training's if their mean rank of novelty is above one half by at most this much."""
DAILY = 200
"""Prompts of a day that are compared, its first ones: a longer log adds days and changes none."""
EXAMPLES = 5
_REQUEST = ("prompt", "messages", "tools", "response_format")
TRAFFIC_COLUMNS = (*_REQUEST, "tags", "session_id", "prompt_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTest:
    """Values in [0, 1] of prompts in order of time, whose mean is at most the bound if nothing drifts.

    Attributes:
        usual: the mean in training.
        sessions: of each prompt; its own key without one.
        sentence: what the last values show.
    """

    kind: TrafficKind
    task_type: str | None
    usual: float
    recent: float
    values: FloatArray
    bounds: FloatArray
    sessions: Sequence[str]
    sentence: str


def traffic_tests(
    own: pl.DataFrame, version: Version, cache: Path, reporter: Reporter
) -> tuple[list[TrafficTest], list[str]]:
    """The tests of a router's own calls, and why some can't be made.

    Args:
        own: in order of time, with `TRAFFIC_COLUMNS`.
        cache: folder of embeddings.
    """
    day = pl.col("time").dt.date()
    first = own.filter(pl.col("time").is_not_null()).unique("prompt_key", keep="first", maintain_order=True)
    first = first.filter(pl.int_range(pl.len()).over(day) < DAILY)
    tests, unknown = _of_shares(_Part(first), version)
    if len(first):
        tests += _of_texts(_Part(first), version, cache, reporter)
    return tests, unknown


class _Part:
    """Prompts to test."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._keys = frame["prompt_key"].to_list()
        self._sessions = [
            session or key for session, key in zip(frame["session_id"].to_list(), self._keys, strict=True)
        ]

    def share(
        self,
        kind: TrafficKind,
        what: str,
        is_one: pl.Series,
        training: tuple[float, int],
        task: str | None = None,
    ) -> TrafficTest:
        """Whether the share of some prompts grew.

        Args:
            training: their share of the training prompts, and how many those are.
        """
        usual, number = training
        slack = SHARE_TOLERANCE + 3 * math.sqrt(usual * (1 - usual) / max(number, 1))
        words = (f"last prompts that {what}: ", rate)
        return self.test(kind, words, is_one.to_numpy().astype(np.float64), (usual, slack), task)

    def test(
        self,
        kind: TrafficKind,
        words: tuple[str, Callable[[float], str]],
        values: FloatArray,
        usual: tuple[float, float],
        task: str | None = None,
    ) -> TrafficTest:
        """A test of values whose mean is usually the first of `usual`, and within the second of it."""
        recent, number = float(values[-DAILY:].mean()) if len(values) else math.nan, min(DAILY, len(values))
        start, form = words
        highest = np.lexsort((np.arange(len(values)), values))[::-1][:EXAMPLES].tolist()
        return TrafficTest(
            kind=kind,
            task_type=task,
            usual=usual[0],
            recent=recent,
            values=values,
            bounds=np.full(len(values), min(sum(usual), 1.0)),
            sessions=self._sessions,
            sentence=f"{start}{form(recent)} of {number}, in training {form(usual[0])}; "
            f"for example {', '.join(self._keys[row][:16] for row in highest)}",
        )


def _of_shares(part: _Part, version: Version) -> tuple[list[TrafficTest], list[str]]:
    """Tests of the task types and of the rule table's share, as far as the manifest holds training's."""
    data, frame = version.manifest["data"], part.frame
    if "task_types" not in data:
        return [], ["task types and share stepped aside: the router does not hold training's; train it again"]
    counts = data["task_types"]
    number = sum(counts.values())
    ruled = frame["decision_source"].eq("rule").fill_null(value=False)
    types = frame["task_type"].fill_null("")
    new = ~types.is_in([*counts, ""])
    names = ", ".join(sorted(set(types.filter(new)))[:EXAMPLES])
    return [
        part.share("stepped aside", "the rule table decides", ruled, (data["stepped_aside"], number)),
        part.share("task type", f"are of new task types ({names})", new, (0.0, number)),
        *(
            part.share("task type", f"are {task}", types.eq(task), (count / number, number), task)
            for task, count in counts.items()
            if task
        ),
    ], []


def _of_texts(part: _Part, version: Version, cache: Path, reporter: Reporter) -> Iterator[TrafficTest]:
    """Tests of the prompts' embeddings, labels and structure against the router's neighbour store."""
    rows = part.frame.select(*_REQUEST, "task_type", "tags").iter_rows()
    requests = [stored_request(*row[:4], task_type=row[4], tags=tuple(row[5] or ())) for row in rows]
    texts = [embedded_text(request) for request in requests]
    advance = reporter.stage("embedding prompts", len(texts))
    encodings, _ = encode_all(version.encoder, texts, cache / EMBEDDINGS, advance)
    features, store = version.features(requests, encodings), version.head.store
    values, off = novelty(store.points, unit(narrow_inputs(features, version.head.scaling) @ store.axes))
    words = ("mean rank of the last prompts by novelty among training's: ", partial(decimal, digits=2))
    yield part.test("prompts", words, values, (0.5, NEW_TOLERANCE + off))
    unfamiliar = version.forecast_from(features).familiarity < version.policy.least_familiarity
    usual = version.config.fallback.unfamiliar_share
    training = usual, len(store.points)
    yield part.share("unfamiliar", "are like none of training's", pl.Series(unfamiliar), training)
