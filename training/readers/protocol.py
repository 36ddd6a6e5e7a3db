"""What a reader of another program's log is: how it knows its records, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from router.records import Json

Record: TypeAlias = Mapping[str, Json]
"""One object of the source: a JSON object, or a row of a table by column name."""

EVIDENCE_FIELDS = ("finish_reason", "answer", "error")
"""What a call may carry beside the fields of `CALL_SCHEMA`, for the rules that find outcomes: why the model
stopped, its message as JSON, and the class of its error."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A row that is in order and yet no call to learn from.

    Attributes:
        reason: a few words, the same for every row of its kind; counted under them.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that should be a call and can't be read.

    Attributes:
        reason: the same for every row of its kind.
        value: what stood there.
    """

    reason: str
    value: Json = None


@dataclass(frozen=True, slots=True)
class Joined:
    """A row whose content went into another row with the same key; only `JoiningReader.join` returns it."""


Call: TypeAlias = dict[str, Json]
"""Raw values by canonical field (and `EVIDENCE_FIELDS`); what is left out is unknown.
`training.reading.rows.cleaning` checks them."""
Result: TypeAlias = Call | Apart | Rejected | Joined

NO_PROMPT = Apart("no prompt logged")
NO_RECORD = Apart("holds no call")
JOINED = Joined()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The beginning of a file, for a reader to recognise.

    Attributes:
        name: the file's name, or the table's.
        columns: of a table or CSV or Parquet file; empty for JSON.
        records: the first rows that can be read, at most twenty; may be empty.
    """

    name: str
    columns: frozenset[str]
    records: Sequence[Record]

    def share(self, *names: str) -> float:
        """Share of the records that have all these members."""
        having = sum(all(name in record for name in names) for record in self.records)
        return having / len(self.records) if self.records else 0.0


class Reader:
    """One format. A subclass of this, made once at the end of its module, is all there is to adding one.

    Nothing in it may raise on a record of any form: what can't be used is `Rejected`.

    Attributes:
        name: for `--format`.
        many_rows: `rows` may give other than one row for a record; rows then are numbered, not lines.
        tables: tables of a database that hold this format.
        schemes: beginnings of addresses that `fetch` reads.
        takes_over: name of another reader whose files this one joins its own to, where both are there.
    """

    name: ClassVar[str]
    many_rows: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()
    schemes: ClassVar[tuple[str, ...]] = ()
    takes_over: ClassVar[str] = ""

    def recognise(self, sample: Sample) -> float:
        """How sure it is that the file is of its format, from 0 (not at all) to 1.

        The surest reader gets the file. A canonical call log scores 0.5, so what merely looks like a table
        with a model and a prompt must stay below.
        """
        raise NotImplementedError

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows in one record of the source: itself, or the spans of a trace, the items of a page."""
        return (record,)

    def fetch(self, address: str) -> Iterator[Record]:
        """The records behind an address that begins with one of `schemes`.

        Raises:
            CallLogError: it can't be reached.
        """
        raise NotImplementedError

    def convert(self, row: Record) -> Result:
        """What a row says, by canonical field; or why it is no call."""
        raise NotImplementedError


class JoiningReader(Reader):
    """A format in which one call stands in several rows, possibly of several files.

    All rows are first sorted into files by key on disk, so memory is that of one such file, whatever the
    log's length; rows of one key should be few.
    """

    def key(self, row: Record) -> str | None:
        """What the rows of one call share; None for a row that stands for itself."""
        raise NotImplementedError

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """What becomes of each of the rows that share a key, in the order of the log: one result for each."""
        raise NotImplementedError
