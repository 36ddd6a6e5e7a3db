"""The numbers of logged answers, beside the prompt table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from router.records import FloatArray, IntArray, Request
from training.prompts.table import PromptTable
from training.reading.calls import CallFiles

MOST_ANSWERS = 100_000
"""Answers that are kept: more hardly help, and take memory."""
_COLUMNS = ("prompt_key", "model", "numbers", "latency_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """The first logged answer of each model to each prompt.

    Attributes:
        at: shape (n_prompts, n_models); row of the numbers, -1 without a whole answer.
        numbers: shape (n, p); as `answer_numbers` gives them.
        seconds: shape (n,); latency of the call, NaN where unknown.
    """

    at: IntArray
    numbers: FloatArray
    seconds: FloatArray

    def rows(self, index: IntArray) -> AnswerTable:
        """The answers to the prompts at `index`."""
        return AnswerTable(at=self.at[index], numbers=self.numbers, seconds=self.seconds)

    def latency(self, index: IntArray) -> FloatArray:
        """Seconds of each call on the prompts at `index`, shape (n_index, n_models); NaN is unknown."""
        return np.append(self.seconds, np.nan)[self.at[index]]


def answers_of(files: CallFiles, table: PromptTable, counts: Callable[[Request], bool]) -> AnswerTable:
    """Collect the answers to the prompts of a table, in its order; calls read without `grade` have none.

    Args:
        counts: whether answers to a request are of interest.
    """
    row_of = {
        key: row
        for row, (key, request) in enumerate(zip(table.keys, table.requests, strict=True))
        if counts(request)
    }
    column_of = {model: column for column, model in enumerate(table.models)}
    at = np.full((len(table), len(table.models)), -1, dtype=np.int64)
    numbers: list[FloatArray] = []
    seconds: list[float] = []
    for frame in files.frames():
        whole = frame.where(frame["numbers"].not_null()).select("place", *_COLUMNS).sort("place")
        for batch in whole.to_arrow_iter():
            calls = (batch[name].to_pylist() for name in ("prompt_key", "model", "latency_s"))
            values = batch["numbers"].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
            for key, model, latency, row in zip(*calls, values, strict=True):
                place = row_of.get(key, -1), column_of.get(model, -1)
                if min(place) >= 0 and at[place] < 0 and len(numbers) < MOST_ANSWERS:
                    at[place] = len(numbers)
                    numbers.append(row.astype(np.float64))
                    seconds.append(np.nan if latency is None else latency)
    known = np.array(numbers) if numbers else np.zeros((0, 0))
    return AnswerTable(at=at, numbers=known, seconds=np.array(seconds))
