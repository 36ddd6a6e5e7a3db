from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import fsspec
import polars as pl
import pyarrow as pa
import pytest

from router.errors import CallLogError, ConfigError, MissingExtra
from router.errors.masking import shown_text
from tests.training.logs import call, read, write_lines
from training.reading.files import log_file
from training.reading.files.log_file import remote_error
from training.reading.files.sources import expand, is_database
from training.reading.rows.recognising import find_files

ROWS = [call(prompt=f"p{number}") for number in range(3)]


@pytest.fixture
def bucket() -> Iterator[str]:
    """An object store in memory: the same code path as s3:// and gs://."""
    store = fsspec.filesystem("memory")
    yield "memory://bucket"
    store.store.clear()


def put(address: str, content: bytes) -> None:
    with fsspec.open(address, "wb") as stream:
        stream.write(content)


def lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pl.DataFrame(ROWS).write_parquet(sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.jsonl", lines(), id="lines"),
        pytest.param("a.jsonl.gz", gzip.compress(lines()), id="gzip"),
        pytest.param("a.jsonl.zst", pa.compress(lines(), "zstd", asbytes=True), id="zstd"),
        pytest.param("a.json", json.dumps(ROWS).encode(), id="array"),
        pytest.param("a.csv", b"prompt,model\na,m\nb,m\nc,m\n", id="csv"),
        pytest.param("a.parquet", parquet(), id="parquet"),
    ],
)
@pytest.mark.parametrize("named", ["object", "prefix", "glob"])
def test_an_object_store_is_read_like_files(
    bucket: str, tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    put(f"{bucket}/day/{name}", content)
    source = {"object": f"{bucket}/day/{name}", "prefix": bucket, "glob": f"{bucket}/*/a.*"}[named]
    summary = read(tmp_path, source).summary
    assert (summary.rows, summary.calls) == (3, 3)


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(lines(), "zstd", asbytes=True))
    assert read(tmp_path, str(tmp_path / "a.jsonl.zst")).summary.calls == 3


@pytest.mark.parametrize(
    "name", ["a::b.jsonl", "[1].jsonl", "~a.jsonl", "a#b.jsonl", "a?b.jsonl", "a%20b.jsonl"]
)
def test_a_name_here_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(lines())
    monkeypatch.chdir(tmp_path)
    assert expand([name]) == [name]
    assert read(tmp_path, name).summary.calls == 3


def test_a_glob_does_not_match_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a.jsonl", "._a.jsonl", ".kept/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(lines())
    assert expand([f"{tmp_path}/**/*.jsonl"]) == [f"{tmp_path}/a.jsonl"]


def test_a_damaged_zstandard_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(lines(), "zstd", asbytes=True)[:-9])
    with pytest.raises(CallLogError, match=r"a\.jsonl\.zst: "):
        read(tmp_path, str(tmp_path / "a.jsonl.zst"))


def test_a_folder_that_can_t_be_listed_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jsonl").write_bytes(lines())
    listed = os.scandir

    def scandir(path: str) -> object:  # root, who may run the tests, may list everything
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CallLogError, match=r"closed: can't list the folder: Permission denied; allow"):
        expand([str(tmp_path)])


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines())
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr(log_file, "open_raw", lambda _: (_ for _ in ()).throw(denied))
    with pytest.raises(CallLogError, match=r"a\.jsonl: can't be opened: Permission denied; allow reading it"):
        find_files([str(tmp_path / "a.jsonl")], {})


def test_an_object_that_is_not_there_is_refused(bucket: str) -> None:
    with pytest.raises(CallLogError, match="no such object, and no log below it"):
        expand([f"{bucket}/none.jsonl"])


def test_a_password_in_an_address_opens_the_object_and_is_told_nobody(tmp_path: Path) -> None:
    put("memory://me:hush@bucket/a.jsonl", lines())
    summary = read(tmp_path, "memory://me:hush@bucket/a.jsonl").summary
    assert (summary.calls, summary.files) == (3, ["memory:///***@bucket/a.jsonl"])
    assert len(summary.digest) == 64
    with pytest.raises(CallLogError, match=r"^memory://\*\*\*@bucket/none\.jsonl: no such object"):
        expand(["memory://me:hush@bucket/none.jsonl"])


def test_an_unknown_store_is_refused_without_its_password() -> None:
    with pytest.raises(CallLogError, match=r"^gopher://(?!.*hush).*no store has such an address"):
        expand(["gopher://me:hush@host/x"])


def test_the_extra_of_a_missing_store_is_named() -> None:
    error = remote_error("s3://b/x", ImportError("Install s3fs", name="s3fs"))
    assert isinstance(error, MissingExtra)
    assert "pointsman[s3]" in str(error)
    assert "package 'gcsfs'" in str(remote_error("gs://b/x", ImportError("Please install gcsfs")))


SIGNATURE = "X-Amz-Expires=60&X-Amz-Signature=hush"


class Signed(BaseHTTPRequestHandler):
    """Serves `files` to those who sign for GET, as presigned addresses do; parts of a file as well."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        name, _, query = self.path.partition("?")
        content = self.files.get(name.removeprefix("/"))
        if query != SIGNATURE or content is None:
            self.send_error(403)
            return
        first, last = 0, len(content) - 1
        if part := self.headers.get("Range"):
            begin, _, end = part.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
        self.send_response(206 if part else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def signed() -> Iterator[str]:
    """The address of a server of signed files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Signed)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.jsonl", lines(), id="lines"),
        pytest.param("a.jsonl.gz", gzip.compress(lines()), id="gzip"),
        pytest.param("a.csv", b"prompt,model\na,m\nb,m\nc,m\n", id="csv"),
        pytest.param("a.parquet", parquet(), id="parquet"),
    ],
)
def test_a_signed_address_is_read_by_the_ending_before_its_query_and_the_signature_is_told_nobody(
    signed: str, tmp_path: Path, name: str, content: bytes
) -> None:
    Signed.files = {name: content}
    files = read(tmp_path, f"{signed}/{name}?{SIGNATURE}")
    assert (files.summary.calls, files.summary.files) == (3, [f"{signed}/{name}"])
    assert "hush" not in repr(files.summary)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("a.jsonl", None, "signature does not allow reading", id="refused"),
        pytest.param("a.txt", b"", "no reader for this ending", id="ending"),
        pytest.param("a.parquet", b"x" * 100, "can't be read as parquet", id="damaged"),
        pytest.param("a.jsonl.gz", b"x" * 100, "not gzip", id="not compressed"),
        pytest.param("a.jsonl", "ab".encode("utf-16-be"), "is UTF-16", id="encoding"),
        pytest.param("a.csv", b"a,b\n1,2\n", "no column 'model'", id="columns"),
        pytest.param("a.jsonl", b"{}\n", "no readable call", id="rows"),
    ],
)
def test_no_error_tells_a_signature(
    signed: str, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    Signed.files = {} if content is None else {name: content}
    with pytest.raises(CallLogError, match=rf"^(?!.*hush)(?s:.*){told}"):
        read(tmp_path, f"{signed}/{name}?{SIGNATURE}")


def test_the_queries_of_addresses_in_a_text_are_not_shown() -> None:
    text = "403, url=URL('https://h/a.jsonl?Policy=x&sp=r'): https://u:p@h/b?c=d"
    assert shown_text(text) == "403, url=URL('https://h/a.jsonl?***'): https://***@h/b?***"


@pytest.mark.parametrize("source", ["postgresql://h/d", "sqlite:///x", "calls.db", "x.sqlite#t"])
def test_a_database_is_told_by_its_address_or_ending(source: str) -> None:
    assert is_database(source)


def test_a_named_table_of_any_database_is_read_by_its_columns(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "own.db") as connection:
        connection.execute("CREATE TABLE asked (question TEXT, model TEXT)")
        connection.executemany("INSERT INTO asked VALUES (?, ?)", [("a", "m"), ("b", "m")])
    connection.close()
    summary = read(tmp_path, f"{tmp_path}/own.db#asked", mapping={"prompt": "question"}).summary
    assert (summary.rows, summary.calls) == (2, 2)


def test_an_empty_table_is_no_log_unless_it_is_named(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "own.db") as connection:
        connection.execute('CREATE TABLE "LiteLLM_SpendLogs" (request_id TEXT)')
    connection.close()
    assert find_files([f"{tmp_path}/own.db#LiteLLM_SpendLogs"], {})[0].size == 0
    with pytest.raises(CallLogError, match=r"own\.db: holds no call log"):
        find_files([f"{tmp_path}/own.db"], {})


def test_a_table_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "own.db") as connection:
        connection.execute("CREATE TABLE asked (question TEXT)")
    connection.close()
    with pytest.raises(CallLogError, match="no table 'answered'; tables there: asked"):
        find_files([f"{tmp_path}/own.db#answered"], {})


def test_an_unknown_format_is_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such format; it is one of auto, pointsman, .*litellm-spend"):
        find_files([write_lines(tmp_path / "a.jsonl", call())], {}, "nosuch")
