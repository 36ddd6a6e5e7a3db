"""What a reader of another program's log does: recognise its records, and convert each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from router.records import Json

Record: TypeAlias = Mapping[str, Json]
"""One object of the source: a JSON object, or a row of a table by column name."""

EVIDENCE_FIELDS = ("finish_reason", "answer", "error")
"""Fields of a call beside those of `CALL_SCHEMA`, for the outcome rules: why the model stopped, its message
as JSON, and the class of its error."""


Call: TypeAlias = dict[str, Json]
"""Raw values by canonical field (and `EVIDENCE_FIELDS`); a missing field is unknown.
`training.reading.rows.cleaning` checks the values."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A valid row that is no call for training.

    Attributes:
        reason: a few words, the same for every row of its kind; the summary counts rows by it.
        call: all but the prompt or the model, of a row that lacks only those: a mapping may fill them.
    """

    reason: str
    call: Call | None = field(default=None, compare=False, kw_only=True)


Apart = Skipped
"""The former name of `Skipped`, for readers in other packages."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that should be a call and can't be read.

    Attributes:
        reason: the same for every row of its kind.
        value: the value that can't be read.
        call: as in `Skipped`.
    """

    reason: str
    value: Json = None
    call: Call | None = field(default=None, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Joined:
    """A row whose content went into another row with the same key; only `JoiningReader.join` returns it."""


Result: TypeAlias = Call | Skipped | Rejected | Joined

NO_PROMPT = Skipped("no prompt logged")
UNREAD_PROMPT = Skipped("prompt in a form that is not read")
NO_TEXT = Skipped("prompt without text, image or tool call")
SEVERAL_PROMPTS = Skipped("several prompts in one call")
NO_RECORD = Skipped("holds no call")
NO_MODEL = Rejected("model is missing")
OUTER = Skipped("span around another model call")
JOINED = Joined()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The beginning of a file, for a reader to recognise.

    Attributes:
        name: the file's name, or the table's.
        columns: of a table, CSV or Parquet file; empty for JSON.
        records: the first readable rows, at most twenty; may be empty.
    """

    name: str
    columns: frozenset[str]
    records: Sequence[Record]

    def share(self, *names: str) -> float:
        """Share of the records that have all these members."""
        return self.share_of(lambda record: all(name in record for name in names))

    def share_of(self, known: Callable[[Record], bool]) -> float:
        """Share of the records that `known` accepts; 0 if there are no records."""
        return sum(map(known, self.records)) / len(self.records) if self.records else 0.0


class Reader:
    """One format. To add one, write a subclass and create its instance at the end of the module.

    No method may raise, whatever form a record has: return `Rejected` for a record that can't be used.

    Attributes:
        name: for `--format`.
        many_rows: `rows` may yield any number of rows for a record; messages then number rows, not lines.
        pages: a record holds several rows only where it is a page of an API; in a table each is one row.
        tables: database tables that hold this format.
        schemes: beginnings of the addresses that `fetch` reads.
        takes_over: name of another reader; this one joins that reader's files to its own.
    """

    name: ClassVar[str]
    many_rows: ClassVar[bool] = False
    pages: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()
    schemes: ClassVar[tuple[str, ...]] = ()
    takes_over: ClassVar[str] = ""

    def opens(self, kind: str) -> bool:
        """Whether `rows` looks for several rows in the records of a file of this kind."""
        return self.many_rows and not (self.pages and kind in ("parquet", "csv", "table", "frame"))

    def recognise(self, sample: Sample) -> float:
        """How sure this reader is that the file has its format, from 0 (not at all) to 1.

        The surest reader gets the file. A canonical call log scores 0.5, so a file that merely has columns
        for a model and a prompt must score below.
        """
        raise NotImplementedError

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows in one record of the source: itself, the spans of a trace, or the items of a page."""
        return (record,)

    def fetch(self, address: str) -> Iterator[Record]:
        """The records at an address that begins with one of `schemes`.

        Raises:
            CallLogError: the address can't be reached.
        """
        raise NotImplementedError

    def convert(self, row: Record) -> Result:
        """The call in a row, or why the row is no call."""
        raise NotImplementedError


class JoiningReader(Reader):
    """A format that spreads one call over several rows, possibly of several files.

    The rows are first sorted by key into files on disk. Memory is that of one such file, whatever the length
    of the log, so few rows should share a key.
    """

    def key(self, row: Record) -> str | None:
        """The key that the rows of one call share; None for a row on its own."""
        raise NotImplementedError

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """One result for each of the rows that share a key; rows and results are in the order of the log."""
        raise NotImplementedError
