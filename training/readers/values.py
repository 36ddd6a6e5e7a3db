"""Careful looks into records of unknown form: nothing here raises, what is not there is None.

Objects are told by `dict`: every source gives those, and it is many times quicker than asking for `Mapping`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.records import Json
from training.readers.cells import parse_json

_UNTRUE = frozenset({"", "false", "0", "no", "none", "null"})


def member(value: Json, *path: str | int) -> Json:
    """The value at a path of object members and list positions; None where there is none."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def unpacked(value: Json) -> Json:
    """A JSON value that may stand there as its text, as exports and older tables have it."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(value)[0]
        except ValueError:
            return value
    return value


def mapping(value: Json) -> Mapping[str, Json]:
    """An object, also from its JSON text; else an empty one."""
    value = unpacked(value)
    return value if isinstance(value, dict) else {}


def listed(value: Json) -> Sequence[Json]:
    """A list, also from its JSON text; else an empty one."""
    value = unpacked(value)
    return value if isinstance(value, list) else ()


def words(value: Json) -> str | None:
    """Text that says something; None for anything else."""
    return value if isinstance(value, str) and value else None


def first_words(*values: Json) -> str | None:
    """The first of the values that is text and says something."""
    return next((value for value in values if isinstance(value, str) and value), None)


def first_given(*values: Json) -> Json:
    """The first value that is not None or empty text."""
    return next((value for value in values if value is not None and value != ""), None)


def truth(value: Json) -> bool:
    """Whether a flag is set; text such as "True" counts, "False" and "None" do not."""
    return value.strip().lower() not in _UNTRUE if isinstance(value, str) else bool(value)


def at_path(record: Mapping[str, Json], path: str) -> Json:
    """The member of that name, or of that dotted path; JSON texts on the way are opened."""
    if path in record:
        return record[path]
    value: Json = record
    for step in path.split("."):
        value = mapping(value).get(step)
    return value
