"""What the sources on a command line stand for: files, folders, globs, cloud storage, databases."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from router.addresses import without_credentials, without_query
from router.call_log.address import DATABASE_FILES
from router.errors import CallLogError
from training.reading.files.feedback_file import log_beside
from training.reading.files.log_file import is_remote, plain_name, remote_error

LOG_ENDINGS = (".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".csv")
_DATABASES = ("postgresql", "postgres", "sqlite")


def is_database(source: str) -> bool:
    """Whether a source is a database: an address, or a file with the ending of SQLite's."""
    scheme, colon, _ = source.partition("://")
    name = source.partition("#")[0]
    return bool(colon and scheme.lower().split("+")[0] in _DATABASES) or (
        not colon and name.lower().endswith(DATABASE_FILES)
    )


def expand(sources: Sequence[str], schemes: Sequence[str] = ()) -> list[str]:
    """The files, objects and addresses that the sources stand for: each once, those of a glob in name order.

    Args:
        schemes: beginnings of addresses that are left as they are, for a reader to fetch.

    Raises:
        CallLogError: a source stands for nothing.
        MissingExtra: the package of an object store is not installed.
    """
    paths = dict.fromkeys(path for source in sources for path in _matches(source, tuple(schemes)))
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
        found = sorted(path for path in matches if Path(path).is_file() and not log_beside(path))
        if not found:
            raise CallLogError(f"no file matches {source!r} (from {Path.cwd()}); check the pattern")
        return [str(Path(path)) for path in found]
    if Path(source).is_dir():
        return _in_folder(source)
    if not Path(source).exists():
        raise CallLogError(f"{source}: no such file (from {Path.cwd()}); check the path")
    return [str(Path(source))]


def _in_folder(folder: str) -> list[str]:
    """The logs below a folder; what is hidden, or has another ending, is left out.

    Raises:
        CallLogError: there is none, or a folder in it can't be listed, so that its logs would be missing.
    """
    whole = Path(folder)
    found = []
    for parent, _, names in os.walk(folder, onerror=_refuse):
        paths = [Path(parent, name) for name in names if _is_log(name)]
        found += [str(path) for path in paths if not _hidden(path.relative_to(whole)) and path.is_file()]
    found = sorted(path for path in found if not log_beside(path))
    if not found:
        raise CallLogError(f"{folder}: no log in this folder; endings read are {_known()}")
    return found


def _refuse(error: OSError) -> None:
    raise CallLogError(
        f"{error.filename}: the folder can't be listed: {error.strerror}; allow it, or name the files to read"
    ) from error


def _remote(source: str) -> list[str]:
    """The objects of an address: itself, those that a glob matches, or all logs below a prefix."""
    import fsspec

    try:
        store, path = fsspec.core.url_to_fs(source)
        if without_query(source) != source:  # a signature is for reading, and often for nothing else
            return [source]
        if glob.has_magic(source):
            found = [name for name in store.glob(path) if store.isfile(name)]
        elif not source.endswith("/") and store.isfile(path):
            found = [path]
        else:
            found = [name for name in store.find(path) if _is_log(name)]
        found = [str(store.unstrip_protocol(name)) for name in found]
    except Exception as error:
        raise remote_error(source, error) from error
    if not found:
        shown = without_credentials(source)
        raise CallLogError(f"{shown}: no such object, and no log below it; endings read are {_known()}")
    return sorted(found)


def _is_log(name: str) -> bool:
    return plain_name(name).endswith(LOG_ENDINGS) or (
        "://" not in name and name.lower().endswith(DATABASE_FILES)
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _known() -> str:
    return ", ".join((*LOG_ENDINGS, *DATABASE_FILES)) + ", and .gz or .zst after JSON's and CSV's"
