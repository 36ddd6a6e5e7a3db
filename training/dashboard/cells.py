"""Sums over the calls that share model, task type, source, tags and version."""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from router.call_log.costs import CostTally
from router.call_log.sums import FORECAST_UNIT, SEPARATOR
from router.records import IntArray, Json

RANDOM_GROUPS = 50
"""Sessions (calls without one) fall at random into this many groups, whose spread gives the intervals."""


class Key(NamedTuple):
    """What the calls of a cell share; None: they have none."""

    model: str
    task_type: str | None
    source: str | None
    tags: tuple[str, ...]
    version: str | None


ATTEMPTS, FAILED, KNOWN, SUCCEEDED, FORECAST_CALLS, FORECAST_SUCCEEDED, FORECAST = range(7)
"""Rows of `Cell.rates`."""


@dataclass(slots=True)
class Cell:
    """The sums of one key while the rows go by; cells add up.

    Attributes:
        rates: shape (7, RANDOM_GROUPS): all rows, those with an error, answered calls with a known success,
            and the successful ones; those with a known success and a forecast, the successful ones, and the
            sum of their forecast chances in units of `FORECAST_UNIT`.
        graded: answered calls with a score but no success.
        outcomes: answered calls of known outcome by its source.
        errors: failed attempts by kind.
        fallbacks: answers of another model than the chosen one.
        minutes: minutes since 1970 with a failed attempt.
    """

    costs: CostTally = field(default_factory=CostTally)
    rates: IntArray = field(default_factory=lambda: np.zeros((7, RANDOM_GROUPS), np.int64))
    graded: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    minutes: set[int] = field(default_factory=set)

    def add(self, row: Mapping[str, Json]) -> None:
        """Count a row."""
        self.costs.add(row)
        group = _random_group(str(row["session_id"] or row["call_id"]))
        self.rates[ATTEMPTS, group] += 1
        if row["error"]:
            self.rates[FAILED, group] += 1
            self.errors[str(row["error"]).partition(":")[0]] += 1
            self.minutes.add(int(datetime.fromisoformat(row["time"]).timestamp() // 60))
            return
        self.fallbacks += row["chosen_model"] is not None and row["chosen_model"] != row["model"]
        if row["success"] is not None:
            self.rates[KNOWN, group] += 1
            self.rates[SUCCEEDED, group] += bool(row["success"])
            if (chance := row["confidence"]) is not None and 0 <= chance <= 1:
                self.rates[FORECAST_CALLS, group] += 1
                self.rates[FORECAST_SUCCEEDED, group] += bool(row["success"])
                self.rates[FORECAST, group] += math.floor(chance / FORECAST_UNIT + 0.5)
        elif row["score"] is not None:
            self.graded += 1
        if row["success"] is not None or row["score"] is not None:
            self.outcomes[str(row["outcome_source"] or "unnamed")] += 1

    def add_group(self, group: Mapping[str, Json]) -> None:
        """Count a group of rows that the database summed, from `sums_of`."""
        calls, success, scored = group["calls"], group["success"], group["scored"]
        self.costs.add_group(group)
        sessions = [_random_group(one) for one in group["sessions"].split(SEPARATOR)]
        rows = np.bincount(sessions, minlength=RANDOM_GROUPS)
        self.rates[ATTEMPTS] += rows
        if group["error"]:
            self.rates[FAILED] += rows
            self.errors[group["error"].partition(":")[0]] += calls
            self.minutes.add(int(group["failed_at"].timestamp() // 60))
            return
        self.fallbacks += group["fallbacks"]
        if success is not None:
            self.rates[KNOWN] += rows
            self.rates[SUCCEEDED] += rows * success
            self._add_forecasts(np.array(sessions), np.array(group["forecasts"].split(",")), success)
        else:
            self.graded += scored
        if known := scored if success is None else calls:
            self.outcomes[group["outcome_source"] or "unnamed"] += known

    def _add_forecasts(self, sessions: IntArray, texts: NDArray[np.str_], success: int) -> None:
        """Count the calls of a group that have a forecast."""
        given = texts != ""
        calls = np.bincount(sessions[given], minlength=RANDOM_GROUPS)
        sums = np.bincount(sessions[given], texts[given].astype(np.float64), RANDOM_GROUPS)
        self.rates[FORECAST_CALLS] += calls
        self.rates[FORECAST_SUCCEEDED] += calls * success
        self.rates[FORECAST] += sums.astype(np.int64)

    def merge(self, other: Self) -> None:
        """Count the rows that another cell counted."""
        self.costs.merge(other.costs)
        self.rates += other.rates
        self.graded += other.graded
        self.fallbacks += other.fallbacks
        if other.outcomes:
            self.outcomes.update(other.outcomes)
        if other.errors:
            self.errors.update(other.errors)
            self.minutes |= other.minutes

    @property
    def known(self) -> int:
        """Answered calls with a known success."""
        return int(self.rates[KNOWN].sum())

    @property
    def attempts(self) -> int:
        """All rows."""
        return int(self.rates[ATTEMPTS].sum())


def key_of(row: Mapping[str, Json]) -> Key:
    """The key of a row's cell."""
    task, source, version = (row[name] for name in ("task_type", "decision_source", "policy_version"))
    return Key(str(row["model"]), task, source, tuple(dict.fromkeys(row["tags"] or ())), version)


def cells_of(rows: Iterable[Mapping[str, Json]]) -> dict[Key, Cell]:
    """Add up the rows, as `read_rows` gives them."""
    cells: defaultdict[Key, Cell] = defaultdict(Cell)
    for row in rows:
        cells[key_of(row)].add(row)
    return dict(cells)


def cells_of_groups(groups: Iterable[Mapping[str, Json]]) -> dict[Key, Cell]:
    """Add up the groups, as `sums_of` gives them.

    Raises:
        ValueError: the tags of one can't be read.
    """
    cells: defaultdict[Key, Cell] = defaultdict(Cell)
    for group in groups:
        cells[key_of({**group, "tags": json.loads(group["tags"] or "[]")})].add_group(group)
    return dict(cells)


def _random_group(session: str) -> int:
    return crc32(session.encode()) % RANDOM_GROUPS


def merged(cells: Iterable[Cell]) -> Cell:
    """One cell of all the rows."""
    whole = Cell()
    for cell in cells:
        whole.merge(cell)
    return whole


def by_key(cells: Iterable[tuple[Key, Cell]]) -> dict[Key, Cell]:
    """Add up the cells of each key."""
    sums: dict[Key, Cell] = {}
    for key, cell in cells:
        sums.setdefault(key, Cell()).merge(cell)
    return sums


def by_group(cells: Iterable[tuple[Key, Cell]], groups: Callable[[Key], Iterable[str]]) -> dict[str, Cell]:
    """Add up the cells of each group; a cell may be in several."""
    sums: dict[str, Cell] = {}
    for key, cell in cells:
        for group in groups(key):
            sums.setdefault(group, Cell()).merge(cell)
    return sums


def to_text(cells: Mapping[Key, Cell]) -> str:
    """The cells as a text for `from_text`; it holds no prompt and no id."""
    return json.dumps([[key, _values(cell)] for key, cell in cells.items()], separators=(",", ":"))


def from_text(text: str) -> dict[Key, Cell]:
    """The cells that `to_text` wrote."""
    return {
        Key(model, task, source, tuple(tags), version): _cell(values)
        for (model, task, source, tags, version), values in json.loads(text)
    }


def _values(cell: Cell) -> list[Json]:
    counted = [list(cell.outcomes.items()), list(cell.errors.items()), sorted(cell.minutes)]
    rates = b64encode(cell.rates.astype("<i8").tobytes()).decode()
    return [cell.costs.to_json(), rates, cell.graded, cell.fallbacks, *counted]


def _cell(values: list[Json]) -> Cell:
    costs, rates, graded, fallbacks, outcomes, errors, minutes = values
    return Cell(
        costs=CostTally.from_json(costs),
        rates=np.frombuffer(b64decode(rates), "<i8").reshape(-1, RANDOM_GROUPS).astype(np.int64),
        graded=graded,
        outcomes=Counter(dict(outcomes)),
        errors=Counter(dict(errors)),
        fallbacks=fallbacks,
        minutes=set(minutes),
    )
