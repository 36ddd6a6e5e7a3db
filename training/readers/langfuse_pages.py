"""Opens the pages of Langfuse's API and its downloads of a trace, for the reader of its exports."""

from __future__ import annotations

from collections.abc import Iterator

from training.readers.langfuse import Langfuse
from training.readers.langfuse_fields import field
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


_NESTED = ("observations", "scores")


def _rows_in(record: Record) -> Iterator[Record]:
    if isinstance(record.get("trace"), dict):  # "Download trace as JSON"
        outside = {name: record[name] for name in _NESTED if name in record}
        yield from _rows_of_trace({**outside, **record["trace"]})
        if "observations" in record["trace"]:
            yield from _rows_of_trace({"id": record["trace"].get("id"), **outside}, itself=False)
        return
    for row in listed(record.get("data")) if "data" in record else (record,):
        if isinstance(row, dict) and ("data" in record or any(listed(row.get(name)) for name in _NESTED)):
            yield from _rows_of_trace(row)


def _rows_of_trace(row: Record, *, itself: bool = True) -> Iterator[Record]:
    """A row without the rows nested in it, then these, with the id of their trace."""
    if itself:
        yield {name: value for name, value in row.items() if name not in _NESTED}
    for name in _NESTED:
        for one in listed(row.get(name)):
            if isinstance(one, dict):
                yield one if field(one, "trace_id") is not None else {**one, "traceId": row.get("id")}


PAGES = LangfusePages()
