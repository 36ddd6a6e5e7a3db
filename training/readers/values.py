"""Values of records of unknown form: no function here raises; a missing value is None.

Objects are recognised by `dict`: every source has those, and the check is much faster than for `Mapping`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import microseconds, number, parse_json

_UNTRUE = frozenset({"", "false", "0", "no", "none", "null"})


def member(value: Json, *path: str | int) -> Json:
    """The value at a path of object members and list positions; None if there is none."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def unpacked(value: Json) -> Json:
    """A JSON value, parsed if it is JSON text, as in exports and older tables."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(value)[0]
        except ValueError:
            return value
    return value


def mapping(value: Json) -> Mapping[str, Json]:
    """An object, or one parsed from JSON text; else an empty one."""
    value = unpacked(value)
    return value if isinstance(value, dict) else {}


def listed(value: Json) -> Sequence[Json]:
    """A list, or one parsed from JSON text; else an empty one."""
    value = unpacked(value)
    return value if isinstance(value, list) else ()


def words(value: Json) -> str | None:
    """Text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def first_words(*values: Json) -> str | None:
    """The first of the values that is text and not empty."""
    return next((value for value in values if isinstance(value, str) and value), None)


def first_given(*values: Json) -> Json:
    """The first value that is not None or empty text."""
    return next((value for value in values if value is not None and value != ""), None)


def filled(fields: dict[str, Json], *, zeros: bool = False) -> dict[str, Json]:
    """The fields that have a value.

    Args:
        zeros: drop only None and empty text; else also zeros, False, empty lists and empty objects.
    """
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value != "" and (zeros or value)
    }


def usable_number(value: Json) -> float | None:
    """A number of at least zero, also as text; None for anything else."""
    try:
        amount = number(value)
    except ValueError:
        return None
    return amount if amount is not None and 0 <= amount < math.inf else None


def is_zero(value: Json) -> bool:
    """Whether a number, or its text, is zero."""
    try:
        return number(value) == 0
    except ValueError:
        return False


def truth(value: Json) -> bool:
    """Whether a flag is set; text such as "True" counts, "False" and "None" do not."""
    return value.strip().lower() not in _UNTRUE if isinstance(value, str) else bool(value)


def at_path(record: Mapping[str, Json], path: str) -> Json:
    """The value at a dotted path, whose names may have dots themselves; JSON text on the way is parsed.

    Of several readings the one with the longest names counts: `a.b` is the member "a.b" before it is the
    member "b" of "a".
    """
    if path in record:
        return record[path]
    steps = path.split(".")
    for length in range(len(steps) - 1, 0, -1):
        inner = mapping(record.get(".".join(steps[:length])))
        if inner and (value := at_path(inner, ".".join(steps[length:]))) is not None:
            return value
    return None


def seconds_between(start: Json, end: Json) -> float | None:
    """Seconds from one moment to another; None if one is no time, or the end comes first."""
    try:
        first, last = microseconds(start), microseconds(end)
    except ValueError:
        return None
    return (last - first) / 1e6 if first is not None and last is not None and last >= first else None


def from_nanoseconds(value: Json) -> float | None:
    """Seconds since 1970 from nanoseconds, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) / 1e9
    except (ValueError, OverflowError):
        return None
