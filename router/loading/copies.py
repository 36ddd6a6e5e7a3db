"""Copies on this machine of the routers that a registry holds."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet, finalize

from router.errors import ArtifactError, DamagedArtifact, ForeignArtifact
from router.loading.artifact import MANIFEST, read_manifest

try:
    import fcntl
except ImportError:  # Windows, where a process sees only its own use
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

MOST = 3
"""Copies kept of one name, beside those in use."""
SCRATCH = ".new-"
RETIRED = ".old-"
ABANDONED_S = 24 * 3600.0
"""Age at which a scratch folder belongs to a process that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """One version in a registry; what it stands for never changes.

    Attributes:
        name: what people call it, such as "support/7".
        identity: tells it from a version of the same name that was deleted and made anew.
    """

    name: str
    identity: str


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class Copy:
    """The files of a version. While the object lives, no process deletes them to make room.

    Each object holds a shared lock, which the kernel releases when the process dies. Where the system or the
    disk has no such locks, only this process leaves the files alone.

    Attributes:
        folder: the router's folder.
        home: the folder that is made, counted and deleted as one.
    """

    version: RegisteredVersion
    folder: Path
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What an address pointed to when the registry was last seen."""

    version: RegisteredVersion
    seen: datetime


_in_use: WeakSet[Copy] = WeakSet()
_in_use_lock = threading.Lock()


class Copies:
    """The copies made from one registry; several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._can_remember = True

    def find(self, version: RegisteredVersion) -> Copy | None:
        """The copy of a version, every hash checked; None when there is none. A damaged one is deleted.

        Raises:
            NewerArtifact: written in a later format than this code reads.
        """
        home = self._home(version)
        if not home.is_dir():
            return None
        try:
            copy = _used(Copy(version=version, folder=_router_in(home, version), home=home))
            read_manifest(copy.folder)
        except BlockingIOError:  # another process is deleting it
            return None
        except (DamagedArtifact, ForeignArtifact) as error:
            logger.warning("%s: the copy is damaged and has to be fetched again: %s", version.name, error)
            _delete(home)
            return None
        with suppress(OSError):  # the folder may be read-only, as in a container's image
            os.utime(home)
        return copy

    def add(self, version: RegisteredVersion, download: Callable[[Path], object]) -> Copy:
        """Make the copy of a version; where another process was quicker, its copy is taken.

        Args:
            download: puts the version's files into the folder it gets.

        Raises:
            ArtifactError: it can't be written, or the files are damaged, foreign or in a newer format.
        """
        home = self._home(version)
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=home.parent))
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            download(scratch)
            _check(scratch, version)
            _place(scratch, home)
            copy = _used(Copy(version=version, folder=_router_in(home, version), home=home))
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _prune(home.parent)
        return copy

    def remember(self, address: str, version: RegisteredVersion) -> None:
        """Note that the address points to the version now; it may fail, with one warning."""
        told = {"address": address, "name": version.name, "identity": version.identity, "seen": time.time()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self._note(address), json.dumps(told))
        except OSError as error:
            if self._can_remember:
                logger.warning("%s can't be remembered for when the registry is down: %s", address, error)
            self._can_remember = False

    def recall(self, address: str) -> Remembered | None:
        """What was noted last of the address; None when nothing was, or it can't be read."""
        try:
            told = json.loads(self._note(address).read_bytes())
            version = RegisteredVersion(name=str(told["name"]), identity=str(told["identity"]))
            return Remembered(version=version, seen=datetime.fromtimestamp(float(told["seen"]), UTC))
        except FileNotFoundError:
            return None
        except (OSError, OverflowError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s: the note of its last version can't be read: %r", address, error)
            return None

    def _home(self, version: RegisteredVersion) -> Path:
        name, _, number = version.name.rpartition("/")
        return self.folder / _file_name(name) / f"{_file_name(number)}-{_file_name(version.identity)}"

    def _note(self, address: str) -> Path:
        return self.folder / f"{_file_name(address)}.json"


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for the texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _file_name(text: str) -> str:
    """The text where it can name a file; else what is left of it, with its hash."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
    return f"{readable[:40]}.{digest(text)}"


def _router_in(home: Path, version: RegisteredVersion) -> Path:
    """The folder with the manifest; MLflow puts it some folders deep."""
    manifest = _manifest_in(home)
    if manifest is None:
        raise ForeignArtifact(
            f"{version.name}: the registered model holds no {MANIFEST}, so it is no pointsman router"
        )
    return manifest.parent


def _manifest_in(home: Path) -> Path | None:
    return min(home.glob(f"**/{MANIFEST}"), default=None)


def _check(scratch: Path, version: RegisteredVersion) -> None:
    """Refuse files that are no whole router; the message names the version, as the folder goes away."""
    try:
        read_manifest(_router_in(scratch, version))
    except ArtifactError as error:
        raise type(error)(str(error).replace(str(scratch), version.name)) from None


def _place(scratch: Path, home: Path) -> None:
    try:
        scratch.rename(home)
    except OSError:
        if not home.is_dir():
            raise


def _used(copy: Copy) -> Copy:
    """The copy, which stays from now on.

    Raises:
        BlockingIOError: another process is deleting it.
    """
    with _in_use_lock:
        _in_use.add(copy)
    if (lock := _lock(copy.folder / MANIFEST, alone=False)) is not None:
        finalize(copy, os.close, lock)
    return copy


def _lock(manifest: Path, *, alone: bool) -> int | None:
    """Lock a copy by its manifest until the descriptor is closed; None where that is not possible.

    Raises:
        BlockingIOError: the lock of another process forbids it.
    """
    if fcntl is None:
        return None
    # Over NFS, a lock that keeps everybody else out needs a file that is open for writing.
    mode = os.O_RDWR if alone and os.access(manifest, os.W_OK) else os.O_RDONLY
    try:
        file = os.open(manifest, mode)
    except OSError:  # whoever reads the files next says what is wrong with them
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return file


def _prune(folder: Path) -> None:
    """Delete the copies used longest ago, and what a killed process left; never one that is in use."""
    with _in_use_lock:
        kept = {copy.home for copy in _in_use}
    homes = sorted((home for home in folder.iterdir() if home.is_dir()), key=_last_use, reverse=True)
    unfinished = [home for home in homes if home.name.startswith((SCRATCH, RETIRED))]
    finished = [home for home in homes if home not in unfinished]
    for home in finished[MOST:]:
        if home not in kept:
            _delete_unused(home)
    for home in unfinished:
        if time.time() - _last_use(home) > ABANDONED_S:
            shutil.rmtree(home, ignore_errors=True)


def _last_use(home: Path) -> float:
    """Unix time; 0 for what another process has just deleted."""
    try:
        return home.stat().st_mtime
    except OSError:
        return 0.0


def _delete_unused(home: Path) -> None:
    """Delete a copy that no other process reads from."""
    with suppress(OSError):  # one does, or has just deleted it
        lock = _lock(_manifest_in(home) or home, alone=True)
        _delete(home)
        if lock is not None:
            os.close(lock)


def _delete(home: Path) -> None:
    """Delete a copy so that no reader finds half of it under its name."""
    with suppress(OSError):
        retired = Path(tempfile.mkdtemp(prefix=RETIRED, dir=home.parent))
        with suppress(OSError):
            home.rename(retired / home.name)
        shutil.rmtree(retired, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """Replace a file's text so that a reader sees the old or the new one."""
    handle, scratch = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(scratch).replace(path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{folder}: no copy of a registered router can be written there: {error}; "
        "set registry.copies in pointsman.yaml to another folder"
    )
