"""Sources as a command line names them, expanded: files, folders, globs, cloud storage, databases."""

from __future__ import annotations

import glob
import os
from collections.abc import Container, Sequence
from pathlib import Path

from router.call_log.address import DATABASE_FILES
from router.errors import CallLogError
from router.errors.masking import without_credentials, without_query
from training.reading.files.feedback_file import log_beside
from training.reading.files.log_file import is_remote, plain_name, remote_error

LOG_ENDINGS = (".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_DATABASES = ("postgresql", "postgres", "sqlite")


def is_database(source: str) -> bool:
    """Whether a source is a database: its address, or a file with an ending of SQLite."""
    scheme, colon, _ = source.partition("://")
    name = source.partition("#")[0]
    return bool(colon and scheme.lower().split("+")[0] in _DATABASES) or (
        not colon and name.lower().endswith(DATABASE_FILES)
    )


def expand(sources: Sequence[str], schemes: Sequence[str] = (), frames: Container[str] = ()) -> list[str]:
    """The files, objects and addresses that the sources stand for, each once; a glob's are sorted by name.

    Args:
        schemes: beginnings of addresses to leave as they are, for a reader to fetch.
        frames: names of tables in memory, which stay as they are too.

    Raises:
        CallLogError: there is nothing at a source.
        MissingExtra: the package of an object store is not installed.
    """
    paths = dict.fromkeys(
        path
        for source in sources
        for path in ([source] if source in frames else _matches(source, tuple(schemes)))
    )
    if not paths:
        raise CallLogError("no call log given; name at least one file or glob")
    return list(paths)


def _matches(source: str, schemes: tuple[str, ...]) -> list[str]:
    if is_database(source) or source.startswith(schemes):
        return [source]
    if is_remote(source):
        return _remote(source)
    if glob.has_magic(source) and not Path(source).exists():
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        paths = sorted(path for path in matches if Path(path).is_file() and not log_beside(path))
        if not paths:
            raise CallLogError(f"no file matches {source!r} (from {Path.cwd()}); check the pattern")
        return [str(Path(path)) for path in paths]
    if Path(source).is_dir():
        return _in_folder(source)
    if not Path(source).exists():
        raise CallLogError(f"{source}: no such file (from {Path.cwd()}); check the path")
    return [str(Path(source))]


def _in_folder(folder: str) -> list[str]:
    """The logs below a folder, without hidden files and other endings.

    Raises:
        CallLogError: there is none, or a folder below it can't be listed, so its logs would be missing.
    """
    top = Path(folder)
    logs: list[str] = []
    for parent, _, names in os.walk(folder, onerror=_refuse):
        paths = [Path(parent, name) for name in names if _is_log(name)]
        logs += [str(path) for path in paths if not _hidden(path.relative_to(top)) and path.is_file()]
    logs = sorted(path for path in logs if not log_beside(path))
    if not logs:
        raise CallLogError(f"{folder}: no log in this folder; a log ends in {_known()}")
    return logs


def _refuse(error: OSError) -> None:
    raise CallLogError(
        f"{error.filename}: can't list the folder: {error.strerror}; allow it, or name the files to read"
    ) from error


def _remote(source: str) -> list[str]:
    """The objects of an address: the one that it names, those that a glob matches, or all logs below it."""
    import fsspec

    try:
        store, path = fsspec.core.url_to_fs(source)
        if without_query(source) != source:  # a signed address often allows reading only, no listing
            return [source]
        if glob.has_magic(source):
            names = [name for name in store.glob(path) if store.isfile(name)]
        elif not source.endswith("/") and store.isfile(path):
            names = [path]
        else:
            names = [name for name in store.find(path) if _is_log(name)]
        objects = sorted(str(store.unstrip_protocol(name)) for name in names)
    except Exception as error:
        raise remote_error(source, error) from error
    if not objects:
        label = without_credentials(source)
        raise CallLogError(f"{label}: no such object, and no log below it; a log ends in {_known()}")
    return objects


def _is_log(name: str) -> bool:
    return plain_name(name).endswith(LOG_ENDINGS) or (
        "://" not in name and name.lower().endswith(DATABASE_FILES)
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _known() -> str:
    return ", ".join((*LOG_ENDINGS, *DATABASE_FILES)) + " (.gz or .zst may follow those of JSON and CSV)"
