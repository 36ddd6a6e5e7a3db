"""Langfuse's rows in the pages of its API."""

from __future__ import annotations

from collections.abc import Iterator

from training.readers.langfuse import Langfuse
from training.readers.protocol import Record, Sample
from training.readers.values import listed


class LangfusePages(Langfuse):
    """Each record is a page of observations, scores or traces, or one trace with all of its rows."""

    name = "langfuse-api"
    many_rows = True

    def recognise(self, sample: Sample) -> float:
        """By the rows in the pages."""
        rows = [row for record in sample.records for row in _rows_in(record)]
        within = Sample(name=sample.name, columns=frozenset(), records=rows)
        pages = [record for record in sample.records if next(_rows_in(record), None) is not None]
        return super().recognise(within) * 1.05 * len(pages) / len(sample.records) if pages else 0.0

    def rows(self, record: Record) -> Iterator[Record]:
        """The observations, scores and traces of a record; nested rows leave their trace."""
        yield from _rows_in(record)


def _rows_in(record: Record) -> Iterator[Record]:
    for row in listed(record.get("data")) if "data" in record else (record,):
        if not isinstance(row, dict):
            continue
        nested = [one for name in ("observations", "scores") for one in listed(row.get(name))]
        rows = [one for one in nested if isinstance(one, dict)]
        if "data" in record or rows:
            yield {name: value for name, value in row.items() if name not in ("observations", "scores")}
            yield from rows


READER = LangfusePages()
