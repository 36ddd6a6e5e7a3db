"""A hard limit on what calls may cost, kept across runs in a ledger beside their output."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from router.call_log.file_lock import lock
from router.errors import CallLogError
from router.records import BoolArray, Json

_RUNNING = "another run is writing there; wait for its end, or give another --out"


class LineFile:
    """A file of JSON lines of which each is on the disk before `append` returns.

    A line that a killed process left half is cut off when the file is opened: what it was to say is unknown.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            CallLogError: it can't be written, or another run has it open.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise CallLogError(f"{path}: can't be written: {error.strerror}; choose another place") from error
        try:
            self._lock()
            self.lines = self._whole_lines()
        except CallLogError:
            os.close(self._file)
            raise

    def append(self, value: Mapping[str, Json]) -> None:
        """Add a line.

        Raises:
            CallLogError: the disk does not take it.
        """
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            raise CallLogError(f"{self.path}: can't be written: {error.strerror}; make room") from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            lock(self._file, wait_s=0)
        except OSError as error:
            raise CallLogError(f"{self.path}: {_RUNNING}") from error

    def _whole_lines(self) -> list[dict[str, Json]]:
        """The objects in the file, which then ends with a whole line."""
        found, rest = _objects(self.path)
        if rest and _object(rest) is not None:
            os.write(self._file, b"\n")
        elif rest:
            os.ftruncate(self._file, os.fstat(self._file).st_size - len(rest))
        return found


def read_lines(path: Path) -> list[dict[str, Json]]:
    """The objects in a file of lines, without half a one at its end; none where there is no file.

    Raises:
        CallLogError: it can't be read, or another line holds no object: the file is of something else.
    """
    return _objects(path)[0]


class Budget:
    """Dollars that may be spent, over all runs that write the same output.

    A call's worst case is set aside before it is made and noted on disk; what it did cost takes its place
    when it has ended. What was set aside and never settled, because the process was killed, counts as spent
    in full: the call may have been paid. So the sum of all costs is never above the limit, whatever happens.

    First come, first served: the first call that does not fit any more is the last one. So calls in a random
    order are a random sample however far the budget goes; with cheap ones that still fit it would be one of
    short prompts. Only a call that the whole limit could not bear is left out by itself.

    Used from one event loop.

    Attributes:
        limit: USD.
        spent: USD, what may have been paid included.
    """

    def __init__(self, limit: float, ledger: LineFile) -> None:
        """Take up a ledger where it was left."""
        self.limit = limit
        self.spent = spent_in(ledger.lines)
        self._ledger = ledger
        self._set_aside: dict[int, float] = {}
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._at_its_end = False
        self._number = max((int(line.get("call", 0)) for line in ledger.lines), default=0)

    async def set_aside(self, usd: float) -> int | None:
        """Wait until the amount is free, and hold it; None where it never will be, or never was.

        Returns:
            What `settle` is to be called with.
        """
        if usd > self.limit:
            return None
        async with self._turn, self._changed:
            await self._changed.wait_for(lambda: self._fits(usd) or not self._may_fit(usd))
            self._at_its_end |= not self._fits(usd)
            if self._at_its_end:
                return None
            self._number += 1
            number = self._number
            self._set_aside[number] = usd
            self._ledger.append({"call": number, "at_most_usd": usd})
            return number

    async def settle(self, number: int, usd: float) -> None:
        """The call has ended, and cost this."""
        async with self._changed:
            self._ledger.append({"call": number, "cost_usd": usd})
            self._set_aside.pop(number)
            self.spent += usd
            self._changed.notify_all()

    def _fits(self, usd: float) -> bool:
        return self.spent + sum(self._set_aside.values()) + usd <= self.limit

    def _may_fit(self, usd: float) -> bool:
        return bool(self._set_aside) and self.spent + usd <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Borne:
    """How many of some calls a budget bears, made in order and once each.

    Attributes:
        surely: so many, whatever they cost.
        expected: so many, where each costs what is expected.
    """

    surely: int
    expected: int


def borne(limit: float, spent: float, prices: Iterable[tuple[float, float]]) -> Borne:
    """How many calls a `Budget` bears of which some is spent.

    Args:
        prices: of each call, in order, what is expected and the most, in USD.
    """
    able = [price for price in prices if price[1] <= limit]
    most = np.array([price[1] for price in able])
    likely = np.array([price[0] for price in able])
    surely = spent + np.cumsum(most) <= limit
    expected = spent + np.cumsum(likely) - likely + most <= limit
    return Borne(surely=_first(surely), expected=_first(expected))


def _first(fits: BoolArray) -> int:
    """How many of the first ones fit, up to the first that does not."""
    return len(fits) if fits.all() else int(np.argmin(fits))


def spent_in(lines: list[dict[str, Json]]) -> float:
    """USD by the lines of a ledger; a call that was not settled counts with its worst case."""
    cost: dict[int, float] = {}
    for line in lines:
        usd = line.get("cost_usd", line.get("at_most_usd"))
        cost[int(line.get("call", 0))] = float(usd or 0.0)
    return sum(cost.values())


def ledger_of(out: Path) -> Path:
    """Where the ledger of an output is; no pattern for call logs finds it there."""
    return out.with_name(f"{out.name}.ledger")


def _objects(path: Path) -> tuple[list[dict[str, Json]], bytes]:
    """The objects in a file, and what stands after its last line's end."""
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], b""
    except OSError as error:
        raise CallLogError(f"{path}: can't be read: {error.strerror}") from error
    found = [_object(line) for line in lines]
    if None in found:
        raise CallLogError(
            f"{path}: line {found.index(None) + 1} is no JSON object, so no earlier run wrote it; choose "
            "another place"
        )
    return [value for value in [*found, _object(rest)] if value is not None], rest


def _object(line: bytes) -> dict[str, Json] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
