"""A hard limit on the cost of calls, kept across runs in a ledger beside their output."""

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

_RUNNING = "another run is writing to it; wait until that run ends, or give another --out"


class LineFile:
    """A file of JSON lines; each line is on the disk before `append` returns.

    Opening the file cuts off a half-written line of a killed process.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or create it.

        Raises:
            CallLogError: the file can't be written, or another run has it open.
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
            CallLogError: the line can't be written.
        """
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            raise CallLogError(f"{self.path}: can't be written: {error.strerror}; free disk space") from error

    def close(self) -> None:
        """Close the file and release its lock."""
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
        """The objects in the file; repairs the end of the file."""
        objects, rest = _objects(self.path)
        if rest and _object(rest) is not None:
            os.write(self._file, b"\n")
        elif rest:
            os.ftruncate(self._file, os.fstat(self._file).st_size - len(rest))
        return objects


def read_lines(path: Path) -> list[dict[str, Json]]:
    """The objects in a file of JSON lines, without a half-written last one; empty if there is no file.

    Raises:
        CallLogError: the file can't be read, or has a line that is no object.
    """
    return _objects(path)[0]


class Budget:
    """USD that all runs with the same output may spend together.

    Before each call its worst case is set aside and noted on disk. When the call ends, its real cost replaces
    that. An amount that a killed process set aside and never settled counts as spent in full: the call may
    have been billed. So the sum of all costs never exceeds the limit.

    Calls are served in their order, and the first one that no longer fits ends the run. So calls in random
    order remain a random sample, however far the budget goes; going on with cheaper calls would favour short
    prompts. Only a call that exceeds the whole limit is skipped alone.

    Use it from one event loop.

    Attributes:
        limit: USD.
        spent: USD, with amounts that may have been billed.
    """

    def __init__(self, limit: float, ledger: LineFile) -> None:
        """Continue with a ledger."""
        self.limit = limit
        self.spent = spent_in(ledger.lines)
        self._ledger = ledger
        self._set_aside: dict[int, float] = {}
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._at_its_end = False
        self._number = max((int(line.get("call", 0)) for line in ledger.lines), default=0)

    async def set_aside(self, usd: float) -> int | None:
        """Wait until the amount is free, and hold it.

        Returns:
            The number to call `settle` with; None if the amount will never be free.
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
        """Replace what was set aside for a call by its cost."""
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
class Affordable:
    """How many calls the budget can pay for, in order and each made once.

    Attributes:
        surely: at the most that each can cost.
        expected: at the expected cost of each.
    """

    surely: int
    expected: int


def affordable(limit: float, spent: float, prices: Iterable[tuple[float, float]]) -> Affordable:
    """How many calls the rest of a `Budget` can pay for.

    Args:
        prices: expected and highest USD of each call, in order.
    """
    payable = [price for price in prices if price[1] <= limit]
    most = np.array([price[1] for price in payable])
    likely = np.array([price[0] for price in payable])
    surely = spent + np.cumsum(most) <= limit
    expected = spent + np.cumsum(likely) - likely + most <= limit
    return Affordable(surely=_leading(surely), expected=_leading(expected))


def _leading(fits: BoolArray) -> int:
    """How many calls fit before the first that does not."""
    return len(fits) if fits.all() else int(np.argmin(fits))


def spent_in(lines: list[dict[str, Json]]) -> float:
    """USD in the lines of a ledger; a call that was never settled counts with its worst case."""
    cost: dict[int, float] = {}
    for line in lines:
        usd = line.get("cost_usd", line.get("at_most_usd"))
        cost[int(line.get("call", 0))] = float(usd or 0.0)
    return sum(cost.values())


def ledger_of(out: Path) -> Path:
    """Path of the ledger of an output; no pattern for call logs matches it."""
    return out.with_name(f"{out.name}.ledger")


def _objects(path: Path) -> tuple[list[dict[str, Json]], bytes]:
    """The objects in a file, and the bytes after its last line end."""
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], b""
    except OSError as error:
        raise CallLogError(f"{path}: can't be read: {error.strerror}") from error
    objects = [_object(line) for line in lines]
    if None in objects:
        raise CallLogError(
            f"{path}: line {objects.index(None) + 1} is no JSON object, so no earlier run wrote it; choose "
            "another place"
        )
    return [value for value in [*objects, _object(rest)] if value is not None], rest


def _object(line: bytes) -> dict[str, Json] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
