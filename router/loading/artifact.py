"""The router's folder on disk: written atomically, every file hashed, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact, NewerArtifact, RouterError
from router.records import Json

FORMAT = "pointsman-router"
FORMAT_VERSION = 2
CHANGED_FORMAT = 3
"""The format of a router whose models joined or left after its training."""
CACHED_FORMAT = 4
"""The format of a router whose prices say how much of the input comes from a provider's cache."""
CASCADE_FORMAT = 5
"""The format of a router that learnt for which answers to ask a second model."""
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 * 1024 * 1024
"""Bytes; a manifest of thousands of models has some hundred thousand."""
LARGEST_FILE = 4 * 1024**3
"""Bytes of any other file of a router; a larger one is hashed and loaded for no router of ours."""


def check_target(target: Path) -> None:
    """Check that a router can be written to `target`, before any work that would be lost.

    Raises:
        ArtifactError: it holds something else, or its parent folder can't be created.
    """
    if target.resolve() == Path.cwd():
        raise ArtifactError(f"{target} is the current folder and can't be replaced: name a folder inside it")
    if target.exists() and not _replaceable(target):
        raise ArtifactError(f"{target} exists and is no router folder: choose another --out, or move it away")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)).rmdir()
    except OSError as error:
        raise ArtifactError(f"{target}: can't be written: {error}") from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder near `target`, which takes its place if the block succeeds; its mode follows the umask.

    An existing folder is replaced only if it holds a router or is empty.

    Raises:
        ArtifactError: `target` holds something else, or can't be written.
    """
    from safetensors import SafetensorError

    check_target(target)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ArtifactError(f"{target}: can't be written: {error}") from error
    folder = scratch / "router"  # unlike the scratch folder, which is the user's alone, it follows the umask
    try:
        folder.mkdir()
        yield folder
        _swap(folder, target)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{target}: can't be written: {_why(error)}; free disk space, or choose another place"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _why(error: Exception) -> str:
    """The reason of an error of writing, without the scratch folder's name, which the user doesn't know."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def seal(folder: Path, manifest: Mapping[str, Json]) -> dict[str, Json]:
    """Write the manifest of a folder, with the hash of every file in it.

    Returns:
        The manifest; its `policy_version` is the first 12 digits of a hash over the rest, so the same router
        always has the same name.
    """
    files = {
        file.relative_to(folder).as_posix(): file_hash(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "files": files}
    if any("cached_price" in price for price in manifest.get("prices", {}).values()):
        whole["format_version"] = CACHED_FORMAT
    if "cascade" in manifest:
        whole["format_version"] = CASCADE_FORMAT
    timeless = {name: value for name, value in whole.items() if name != "created"}
    whole["policy_version"] = hashlib.sha256(_dump(timeless)).hexdigest()[:12]
    whole["sha256"] = hashlib.sha256(_dump(whole)).hexdigest()
    (folder / MANIFEST).write_bytes(_dump(whole))
    return whole


def read_manifest(folder: Path) -> dict[str, Json]:
    """Read the manifest of a router folder, and check the hash of every file.

    Raises:
        ForeignArtifact: there is no manifest by pointsman.
        NewerArtifact: its format is later than this code's.
        DamagedArtifact: a listed file is missing or differs from its hash, or the manifest was changed.
    """
    with refusing_malformed(folder):
        return _checked_manifest(folder)


@contextmanager
def refusing_malformed(folder: Path) -> Iterator[None]:
    """Turn whatever a malformed router makes the block raise into an ArtifactError with its cause.

    Raises:
        DamagedArtifact: the files parse to something else than a router.
        ArtifactError: this user may not read them.
    """
    try:
        yield
    except RouterError:
        raise
    except PermissionError as error:
        raise ArtifactError(_unreadable(folder, error)) from error
    except Exception as error:
        why = f"{type(error).__name__}: {str(error)[:300]}"
        raise DamagedArtifact(
            f"{folder}: malformed, no router can be made of it ({why}); train or fetch it again"
        ) from error


def _unreadable(folder: Path, error: PermissionError) -> str:
    path = Path(error.filename or folder)
    try:
        mode = f"mode {stat.S_IMODE(path.stat().st_mode):03o}"
    except OSError:
        mode = "a folder above it is closed"
    user = os.geteuid() if hasattr(os, "geteuid") else "this"
    return f"{path}: user {user} may not read it ({mode}); let that user read it, for example with chmod a+rX"


def digest_of(manifest: Mapping[str, Json]) -> str:
    """The digest that stands for a whole router: its manifest, which holds the hash of every file."""
    return f"sha256:{manifest['sha256']}"


def check_digest(folder: Path, manifest: Mapping[str, Json], expect: str | None) -> None:
    """Check that a router is the one that is expected; None expects any.

    Raises:
        ForeignArtifact: its digest is another.
    """
    if expect is not None and expect != (actual := digest_of(manifest)):
        raise ForeignArtifact(
            f"{folder}: another router than expected: its digest is {actual}, expected {expect!r}; "
            "load that router, or expect this digest if you trust this one"
        )


def _checked_manifest(folder: Path) -> dict[str, Json]:
    manifest = _parsed_manifest(folder)
    if manifest["format_version"] > CASCADE_FORMAT:
        raise NewerArtifact(
            f"{folder}: router format {manifest['format_version']}, this code reads up to {CASCADE_FORMAT}: "
            "upgrade pointsman, or train again"
        )
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    if manifest.get("sha256") != hashlib.sha256(_dump(rest)).hexdigest():
        raise DamagedArtifact(f"{folder / MANIFEST}: changed since it was written; train or fetch it again")
    if not manifest["files"]:
        raise DamagedArtifact(
            f"{folder / MANIFEST}: lists no file, so nothing is checked; train or fetch it again"
        )
    for name, digest in manifest["files"].items():
        _check_file(folder, name, digest)
    return manifest


def load_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a safetensors file, by name.

    Raises:
        DamagedArtifact: not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise DamagedArtifact(f"{path}: can't be read: {error}") from error


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays, by name, as safetensors."""
    from safetensors.numpy import save

    # `save_file` would make a file that only this user may read, whatever the umask.
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dump(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode("ascii")


def _parsed_manifest(folder: Path) -> dict[str, Json]:
    path = folder / MANIFEST
    if not folder.is_dir():
        if str(folder).startswith("model:"):
            hint = "an address in MLflow begins with models:/, such as models:/support@champion"
        elif folder.exists():
            hint = "it is a file; a router is the folder that `pointsman train CALLS --out FOLDER` writes"
        else:
            hint = f"`pointsman train CALLS --out {folder}` makes one"
        raise ForeignArtifact(f"{folder}: no such folder; {hint}")
    _check_inside(folder, MANIFEST)
    if not path.is_file():
        raise ForeignArtifact(f"{folder}: no {MANIFEST} in it, so it is no pointsman router")
    _check_size(path, LARGEST_MANIFEST)
    try:
        manifest: Json = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedArtifact(f"{path}: not valid JSON ({error}); train or fetch it again") from error
    known = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    if not known or not isinstance(manifest.get("format_version"), int):
        raise ForeignArtifact(f"{path}: does not say format {FORMAT!r}, so it is no pointsman router")
    return dict(manifest)


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = _check_inside(folder, name)
    if not path.is_file():
        raise DamagedArtifact(f"{path}: missing; train or fetch the router again")
    _check_size(path, LARGEST_FILE)
    if (actual := file_hash(path)) != digest:
        raise DamagedArtifact(
            f"{path}: sha256 is {actual[:12]}…, the manifest says {digest[:12]}…: it was changed or cut; "
            "train or fetch the router again"
        )


def _check_size(path: Path, most: int) -> None:
    if (size := path.stat().st_size) > most:
        raise DamagedArtifact(
            f"{path}: {size:,} bytes, but at most {most:,} are read; train or fetch it again"
        )


def _check_inside(folder: Path, name: str) -> Path:
    """The path of a file, which no link may take out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DamagedArtifact(f"{folder / MANIFEST}: names a file outside the folder: {name!r}")
    return path


def _replaceable(target: Path) -> bool:
    return target.is_dir() and (not any(target.iterdir()) or (target / MANIFEST).is_file())


def _swap(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`, so that a reader never sees files of both.

    Replacing a folder takes two renames; for an instant between them there is no folder at `target`.

    Raises:
        ArtifactError: `target` can't be renamed, as a mount point can't.
    """
    if not target.exists():
        folder.rename(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    try:
        target.rename(retired / "router")
    except OSError as error:
        retired.rmdir()
        raise ArtifactError(f"{target}: can't be replaced: {error}; name a folder inside it") from error
    folder.rename(target)
    shutil.rmtree(retired, ignore_errors=True)
