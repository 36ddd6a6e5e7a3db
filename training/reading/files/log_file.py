"""One file or database of a call log: what is known of it, and its content as lines."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

import pyarrow as pa

from router.errors import CallLogError, MissingExtra
from router.errors.masking import shown_address, shown_text, without_query
from training.reading.files.json_values import LONGEST_VALUE

if TYPE_CHECKING:
    from typing_extensions import Buffer

Format: TypeAlias = Literal[
    "parquet", "json", "csv", "database", "values", "table", "address", "spool", "frame"
]  # fmt: skip
"""How a source holds its records: "json" one a line, "values" as JSON values in any layout, "database" as the
runtime's log, "table" as another program's table. A reader fetches an "address"; a "spool" holds the rows of
joining readers, those of one key together; a "frame" is a table in memory."""

ROWS_ONLY: frozenset[Format] = frozenset({"database", "table", "address", "frame"})
"""Kinds that are not files: their rows have numbers instead of lines, and are hashed as they are read."""
OWN_LOG = "pointsman"
"""The reader of the canonical call log, and of any table by `--map`."""
COMPRESSED = (".gz", ".zst")
BATCH_ROWS = 20_000
BATCH_BYTES = 16 << 20
"""A batch ends at whichever comes first; each file being read needs a small multiple of it in memory."""

_BEGINNING = 1 << 10
_PIECE = 1 << 20
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
COPY_AGAIN = "copy the file again, or leave it out"
DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)

_STORES = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
"""Package and extra of each scheme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One file of a call log, or a table of a database.

    Attributes:
        number: position among the files of the log, from 0.
        path: its name in messages; an address without its password.
        size: bytes on disk; for a database, about the bytes of its calls.
        mapping: source column per canonical field, with the defaults.
        names: its columns; None for JSON, where each row has its own.
        row_groups: number of parts that it is read in: row groups of a Parquet file, else 1.
        separator: what stands between the cells of a table in text.
        url: address of a database or an object as the user wrote it; it may hold a password.
        feedback: the file of later feedback beside the runtime's log of JSON lines.
        reader: name of the reader for its rows.
        table: name of the table if `kind` is "table".
        frame: the rows if `kind` is "frame".
    """

    number: int
    path: str
    kind: Format
    size: int
    mapping: Mapping[str, str]
    names: tuple[str, ...] | None
    row_groups: int = 1
    separator: str = ","
    url: str = field(default="", repr=False)
    feedback: Path | None = None
    reader: str = OWN_LOG
    table: str = ""
    frame: pa.Table | None = field(default=None, repr=False, compare=False)

    @property
    def location(self) -> str:
        """Path or address that opens a file or object."""
        return self.url or self.path

    @property
    def overrides(self) -> Mapping[str, str]:
        """Source per canonical field that the user mapped."""
        return {name: source for name, source in self.mapping.items() if name != source}


def is_remote(path: str) -> bool:
    """Whether a path is the address of an object in a store that fsspec knows."""
    return "://" in path


def is_in_store(path: str) -> bool:
    """Whether a path is the address of an object in S3 or GCS."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.lower() in _STORES


def open_raw(path: str) -> BinaryIO:
    """Open a file as it is stored, here or in an object store.

    Raises:
        CallLogError: the store can't be reached, or refuses.
        MissingExtra: the store's package is not installed.
        OSError: a local file can't be opened.
    """
    if not is_remote(path):
        return Path(path).open("rb")
    import fsspec

    try:
        return cast(BinaryIO, fsspec.open(path, "rb").open())
    except Exception as error:
        raise remote_error(path, error) from error


def remote_error(path: str, error: Exception) -> CallLogError | MissingExtra:
    """Turn any error of an object store's package into one for the user."""
    scheme = path.partition("://")[0]
    path = shown_address(path)
    if isinstance(error, ImportError):
        package, extra = _STORES.get(scheme, (f"of fsspec for {scheme}://", "s3"))
        return MissingExtra(error.name or package, extra)
    if isinstance(error, FileNotFoundError):
        signed = ", or its signature does not allow reading" if scheme.lower().startswith("http") else ""
        return CallLogError(f"{path}: no such object{signed}; check the address")
    if isinstance(error, ValueError) and "rotocol" in str(error):
        return CallLogError(f"{path}: no store has such an address; use s3://, gs:// or postgresql://")
    reason = f"{type(error).__name__}: {' '.join(shown_text(str(error)).split())[:160]}"
    return CallLogError(
        f"{path}: can't be read ({reason}); check the address, the credentials and the network"
    )


def open_log(path: str) -> tuple[BinaryIO, BinaryIO]:
    """Open a file: its plain content, and the file as stored; these are one if nothing has to be converted.

    UTF-16 that begins with its byte order mark is converted to UTF-8.
    """
    raw = open_raw(path)
    try:
        content = _plain_content(path, raw)
        first = content.peek(4)[:4]  # type: ignore[attr-defined]
    except BaseException:
        raw.close()
        raise
    if first.startswith(codecs.BOM_UTF32_LE) or not first.startswith(_MARKS):
        return content, raw
    return cast(BinaryIO, io.BufferedReader(_AsUtf8(content), _PIECE)), raw


def _plain_content(path: str, raw: BinaryIO) -> BinaryIO:
    ending = without_query(path).lower()
    if ending.endswith(".gz"):
        return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw), _PIECE))
    if ending.endswith(".zst"):
        plain = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return cast(BinaryIO, io.BufferedReader(plain, _PIECE))
    if is_remote(path):  # the files of some stores lack methods of a file
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, raw), _PIECE))
    return raw


class _AsUtf8(io.RawIOBase):
    """The content of a UTF-16 file in UTF-8; half a surrogate pair becomes bytes that are no UTF-8."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        self._ready = b""

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer as far as there is content.

        Raises:
            OSError: the file ends within a character.
        """
        ended = False
        while not (self._ready or ended):
            piece = self._content.read(_PIECE)
            ended = not piece
            try:
                text = self._decoder.decode(piece, final=ended)
            except UnicodeDecodeError as error:
                raise OSError(f"the UTF-16 text is cut short ({error.reason})") from error
            self._ready = text.encode("utf-8", "surrogatepass")
        view = memoryview(buffer)
        size = min(len(view), len(self._ready))
        view[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


class LongLine(bytes):
    """The beginning of a line that is longer than `LONGEST_VALUE`, which might not fit into memory."""

    problem = f"is longer than {LONGEST_VALUE >> 20} MiB"

    def isspace(self) -> bool:
        """False: only its beginning is known."""
        return False


def lines_of(content: BinaryIO) -> Iterator[bytes]:
    """The lines of a file with their line ends; a `LongLine` for each that is too long."""
    while line := content.readline(LONGEST_VALUE):
        if len(line) == LONGEST_VALUE and not line.endswith(b"\n"):
            line = LongLine(line[:_BEGINNING])
            while (piece := content.readline(_PIECE)) and not piece.endswith(b"\n"):
                pass
        yield line


def line_batches(content: BinaryIO, most_bytes: int) -> Iterator[Sequence[bytes]]:
    """The lines of a file in lists that end at `BATCH_ROWS` lines, or once they have `most_bytes`."""
    lines: list[bytes] = []
    size = 0
    for line in lines_of(content):
        lines.append(line)
        size += len(line)
        if size >= most_bytes or len(lines) >= BATCH_ROWS:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def beginning_of(path: str, size: int) -> bytes:
    """The first bytes of a text file, decompressed.

    Raises:
        CallLogError: the file is UTF-32, or UTF-16 without its byte order mark.
    """
    content, raw = open_log(path)
    with raw:
        first = content.read(size)
    if b"\0" in first[:4]:
        wide = "UTF-32" if first[:4].count(0) > 2 or first.startswith(codecs.BOM_UTF32_LE) else "UTF-16"
        raise CallLogError(
            f"{shown_address(path)}: is {wide}, not UTF-8 or UTF-16 with a byte order mark; save it as UTF-8 "
            f"(iconv -f {wide} -t UTF-8)"
        )
    return first


def plain_name(path: str) -> str:
    """A path in lower case, without the ending of a compression and without a query."""
    name = without_query(path).lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name


@contextmanager
def damage_as_log_error(path: str) -> Iterator[None]:
    """Turn the errors of a damaged or unreadable file into a CallLogError."""
    try:
        yield
    except DAMAGED_GZIP as error:
        raise CallLogError(
            f"{path}: the compressed data is cut short or damaged ({error}); {COPY_AGAIN}"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise CallLogError(f"{path}: can't be read: {one_line(error)}; {COPY_AGAIN}") from error


def one_line(error: Exception) -> str:
    """The beginning of an error's text, without line breaks and credentials."""
    return " ".join(shown_text(str(error)).split())[:200]
