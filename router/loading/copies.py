"""Local copies of the routers in a registry."""

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
from router.forking import ForkSafe
from router.loading.artifact import MANIFEST, read_manifest

try:
    import fcntl
except ImportError:  # Windows, where a process sees only its own use
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

MOST = 3
"""Copies kept of each name, beside those in use."""
SCRATCH = ".new-"
RETIRED = ".old-"
ABANDONED_S = 24 * 3600.0
"""Age from which a scratch folder must belong to a process that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """One version in a registry; its files never change.

    Attributes:
        name: for people, such as "support/7".
        identity: differs if a version of this name is deleted and created again.
    """

    name: str
    identity: str


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class Copy:
    """The files of a version. While the object lives, no process deletes them to make room.

    Each object holds a shared lock, which the kernel releases when the process dies. If the system or the
    disk has no such locks, only this process leaves the files alone.

    Attributes:
        folder: the router's folder.
        home: the folder that is created, counted and deleted as one.
    """

    version: RegisteredVersion
    folder: Path
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The version that an address pointed to when the registry last answered."""

    version: RegisteredVersion
    seen: datetime


_in_use: WeakSet[Copy] = WeakSet()
_in_use_lock = ForkSafe(threading.Lock)


class Copies:
    """The copies of one registry's routers; several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._can_remember = True

    def find(self, version: RegisteredVersion) -> Copy | None:
        """The copy of a version, with every hash checked; None if there is none. Deletes a damaged copy.

        Raises:
            NewerArtifact: its format is later than this code reads.
        """
        home = self._home(version)
        if not home.is_dir():
            return None
        try:
            copy = _hold(Copy(version=version, folder=_router_in(home, version), home=home))
            read_manifest(copy.folder)
        except BlockingIOError:  # another process is deleting it
            return None
        except (DamagedArtifact, ForeignArtifact) as error:
            logger.warning("%s: the copy is damaged and must be fetched again: %s", version.name, error)
            _delete(home)
            return None
        with suppress(OSError):  # the folder may be read-only, as in a container's image
            os.utime(home)
        return copy

    def add(self, version: RegisteredVersion, download: Callable[[Path], object]) -> Copy:
        """Create the copy of a version, or use that of another process that was faster.

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
            files = scratch / "files"  # unlike the scratch folder, it follows the umask
            files.mkdir()
            download(files)
            _check(files, version)
            _place(files, home)
            copy = _hold(Copy(version=version, folder=_router_in(home, version), home=home))
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _prune(home.parent)
        return copy

    def remember(self, address: str, version: RegisteredVersion) -> None:
        """Note that the address points to the version now; if that fails, warn once."""
        note = {"address": address, "name": version.name, "identity": version.identity, "seen": time.time()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self._note(address), json.dumps(note))
        except OSError as error:
            if self._can_remember:
                logger.warning("%s can't be remembered for when the registry is down: %s", address, error)
            self._can_remember = False

    def recall(self, address: str) -> Remembered | None:
        """The last note about the address; None if there is none, or it can't be read."""
        try:
            note = json.loads(self._note(address).read_bytes())
            version = RegisteredVersion(name=str(note["name"]), identity=str(note["identity"]))
            return Remembered(version=version, seen=datetime.fromtimestamp(float(note["seen"]), UTC))
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
    """The text if it can name a file; else its usable characters and its hash."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
    return f"{readable[:40]}.{digest(text)}"


def _router_in(home: Path, version: RegisteredVersion) -> Path:
    """The folder with the manifest, which MLflow puts some folders deep."""
    manifest = _manifest_in(home)
    if manifest is None:
        raise ForeignArtifact(
            f"{version.name}: the registered model holds no {MANIFEST}, so it is no pointsman router"
        )
    return manifest.parent


def _manifest_in(home: Path) -> Path | None:
    return min(home.glob(f"**/{MANIFEST}"), default=None)


def _check(scratch: Path, version: RegisteredVersion) -> None:
    """Check that the files are a whole router."""
    try:
        read_manifest(_router_in(scratch, version))
    except ArtifactError as error:  # the scratch folder will be gone, so the message names the version
        raise type(error)(str(error).replace(str(scratch), version.name)) from None


def _place(scratch: Path, home: Path) -> None:
    try:
        scratch.rename(home)
    except OSError:
        if not home.is_dir():
            raise


def _hold(copy: Copy) -> Copy:
    """Protect a copy from deletion as long as the object lives.

    Raises:
        BlockingIOError: another process is deleting it.
    """
    with _in_use_lock.part:
        _in_use.add(copy)
    if (lock := _lock(copy.folder / MANIFEST, alone=False)) is not None:
        finalize(copy, os.close, lock)
    return copy


def _lock(manifest: Path, *, alone: bool) -> int | None:
    """Lock a copy by its manifest until the descriptor is closed; None if that is impossible.

    Raises:
        BlockingIOError: another process holds a lock.
    """
    if fcntl is None:
        return None
    # Over NFS, an exclusive lock needs a file that is open for writing.
    mode = os.O_RDWR if alone and os.access(manifest, os.W_OK) else os.O_RDONLY
    try:
        file = os.open(manifest, mode)
    except OSError:  # whoever reads the files next reports what is wrong
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
    """Delete unused copies beyond the latest `MOST`, and what killed processes left behind."""
    with _in_use_lock.part:
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
    """Unix time; 0 if another process has just deleted the folder."""
    try:
        return home.stat().st_mtime
    except OSError:
        return 0.0


def _delete_unused(home: Path) -> None:
    """Delete a copy that no other process reads from."""
    with suppress(OSError):  # another process reads it, or has just deleted it
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
    """Replace a file's text so that a reader sees either the old or the new text."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=path.parent) as scratch:
        file = Path(scratch) / path.name
        file.write_text(text, encoding="utf-8")
        file.replace(path)


def _unwritable(folder: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{folder}: no copy of a registered router can be written there: {error}; "
        "set registry.copies in pointsman.yaml to another folder"
    )
