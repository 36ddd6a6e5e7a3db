"""Looks whether the version in service gets what it forecast, while the router serves."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from router.call_log.address import LogAddress
from router.call_log.file_lock import locked_folder
from router.call_log.log import CallLog
from router.errors import ConfigError, MissingExtra
from router.forking import ForkAware, watch
from router.loading.copies import digest
from router.loading.registry import RegistrySource
from router.records import Json
from router.settings.sections import Config
from router.settings.yaml_file import settings_text

logger = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0
"""Longest wait before asking again whether it is time to look: another process may have ended since."""
LOOK_S = 3600.0
"""Longest look."""
LOCK_S = 1.0
SHOWN = 6
"""Exit code of `pointsman watch` when something is shown not to be as forecast."""
NEEDED = ("daft", "polars")
"""Packages of the extra `train` that a look needs, beside MLflow."""


class Lookout(ForkAware):
    """Runs `pointsman watch` on the call log at an interval, and reports what that shows.

    Reading a log takes seconds and memory, so that a look is a process of its own, and no request waits for
    it. A daemon thread starts it; a forked child starts its own thread, and the processes of one machine that
    follow an address look in turn. A look that fails is a warning.
    """

    def __init__(self, source: RegistrySource, log: LogAddress, settings: Config) -> None:
        """Look from `start` on.

        Args:
            source: the alias that is followed.
            settings: the application's, with a `watch.interval_s`.
        """
        assert settings.watch.interval_s is not None
        self._source = source
        self._log = log
        self._settings = settings
        self._interval_s = settings.watch.interval_s
        self._moved: Callable[[], object] = lambda: None
        self._reported: set[tuple[Json, ...]] = set()
        self._looked = -math.inf
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def start(self, moved: Callable[[], object]) -> None:
        """Start to look.

        Args:
            moved: called once a look has moved the alias back.
        """
        self._moved = moved
        watch(self)
        self._spawn()

    def stop(self) -> None:
        """Stop, and end a look that is under way; what it was to move stays or is whole."""
        self._ended.set()
        if (process := self._process) is not None:
            process.terminate()

    def look_now(self) -> None:
        """Look once, and report what is shown; a look that fails is a warning."""
        try:
            told = self._told()
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            if not self._ended.is_set():
                logger.warning("%s: no look at %s: %s", self._source.uri, self._log.shown, error)
            return
        alarms = [finding for finding in told["findings"] if finding["alarm"]]
        if (move := told["move"]) is not None:
            logger.warning(
                "%s: version %s is worse than it forecast, and version %s serves again: %s",
                self._source.uri, move["previous"], move["version"],
                "; ".join(alarm["sentence"] for alarm in alarms),
            )  # fmt: skip
            self._moved()
            return
        for alarm in alarms:
            what = (told["policy_version"], alarm["kind"], alarm["model"], alarm["task_type"])
            if what not in self._reported:
                self._reported.add(what)
                logger.warning("%s: %s; next: %s", self._source.uri, alarm["sentence"], alarm["next"])

    def _told(self) -> Mapping[str, Json]:
        """What `pointsman watch --json` prints.

        Raises:
            OSError: the process can't be started.
            subprocess.TimeoutExpired: it takes longer than `LOOK_S`.
            RuntimeError: it failed.
            ValueError: it printed something else.
        """
        with TemporaryDirectory(prefix="pointsman-") as folder:
            settings = Path(folder) / "pointsman.yaml"
            settings.write_text(settings_text(self._settings), encoding="utf-8")
            log = self._log.url.replace("+psycopg", "", 1) or str(self._log.path)
            command = [sys.executable, "-m", "pointsman", "watch", log]
            command += ["--router", self._source.uri, "--config", str(settings), "--json"]
            command += ["--roll-back"] if self._settings.watch.roll_back else []
            code, printed, errors = self._run_to_end(command)
        if code not in (0, SHOWN):
            why = [line for line in errors.splitlines() if "error: " in line]
            raise RuntimeError(why[-1].partition("error: ")[2] if why else f"it ended with exit code {code}")
        told: Mapping[str, Json] = json.loads(printed)
        return told

    def _run_to_end(self, command: list[str]) -> tuple[int, str, str]:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **self._source.environment},
        ) as process:
            self._process = process
            try:
                if self._ended.is_set():
                    process.terminate()
                printed, errors = process.communicate(timeout=LOOK_S)
                return process.returncode, printed, errors
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            finally:
                self._process = None

    def _is_due(self) -> bool:
        """Whether no process of this machine has looked within the interval; then this one does.

        Where the copies' folder can't be written, each process looks for itself.
        """
        if self._log.kind != "postgres" and not self._log.path.exists():
            return False
        note = self._source.copies / f"watch-{digest(self._source.uri)}"
        age = time.monotonic() - self._looked
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            with locked_folder(note.parent, wait_s=LOCK_S):
                with suppress(FileNotFoundError):
                    age = min(age, abs(time.time() - note.stat().st_mtime))
                if age >= self._interval_s:
                    note.touch()
        except BlockingIOError:
            return False
        except OSError as error:
            logger.debug("%s: each process looks for itself: %s", note, error)
        if age < self._interval_s:
            return False
        self._looked = time.monotonic()
        return True

    def _spawn(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="pointsman-lookout").start()

    def _run(self) -> None:
        pause = min(self._interval_s, LONGEST_PAUSE_S)
        while not self._ended.wait(pause * random.uniform(0.75, 1.25)):
            if self._is_due():
                self.look_now()

    def after_fork_in_child(self) -> None:
        """Start again in a child, where the thread is gone; a look that is under way is the parent's."""
        self._process = None
        ended, self._ended = self._ended, threading.Event()
        if ended.is_set():
            self._ended.set()
        else:
            self._spawn()


def lookout_of(source: RegistrySource | None, log: CallLog | None, settings: Config) -> Lookout | None:
    """The lookout that the settings ask for; None: they ask for none, or no alias is followed.

    Args:
        source: None: the router is a folder.

    Raises:
        ConfigError: there is no log to read, it keeps no text, or its address holds a password.
        MissingExtra: the packages of the extra `train` are not installed.
    """
    if settings.watch.interval_s is None:
        return None
    if source is None or not source.has_alias:
        logger.warning("watch has no effect on a router that is not loaded by models:/NAME@ALIAS")
        return None
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "train")
    if log is None or log.address is None:
        raise ConfigError("watch.interval_s: there is no call log to look at: set log.url, or leave it out")
    if settings.log.text == "hash":
        raise ConfigError(
            "watch.interval_s: log.text 'hash' keeps no text, and calls without one can't be read back: set "
            "'full' or 'redacted', or leave it out"
        )
    if log.address.secrets:
        raise ConfigError(
            f"watch.interval_s: another process gets the address of {log.address.shown}, where everyone on "
            "the machine could read its password: put that into PGPASSWORD"
        )
    return Lookout(source, log.address, settings)
