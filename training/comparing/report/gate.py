"""Conditions on report.json under which a comparison fails a build."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, cast

from router.errors import ConfigError
from router.records import Json
from training.comparing.evaluated import Comparison
from training.comparing.report.schema import Kind, element_kind, is_list, is_number, keys_of

Operator = Literal[">", ">=", "<", "<=", "==", "!="]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
EXAMPLE = "cost_at_equal_quality.ci_high > 1"
_KEY = re.compile(r"[A-Za-z_]\w*")
_BRACKETS = re.compile(r'\[\s*(?:"([^"]*)"|([^\[\]"]*[^\[\]"\s]))\s*\]')
_CONDITION = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", re.ASCII)
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A condition that must not hold.

    Attributes:
        text: as it was written.
        path: keys, and names or indices of list elements, from the whole report to a number.
    """

    text: str
    path: tuple[str, ...]
    operator: Operator
    number: float

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ValueError(f"operator must be one of {' '.join(OPERATORS)}, got {self.operator!r}")

    def holds(self, value: float) -> bool:
        """Whether the condition is met."""
        return OPERATORS[self.operator](value, self.number)


class _NotFound(Exception):
    """Why the report has no number at a path."""


def parse_gate(text: str) -> Gate:
    """A condition from `PATH OPERATOR NUMBER`; README.md beside this module gives the form and the keys.

    Raises:
        ConfigError: it has another form, or report.json never has such a key.
    """
    path, rest = _split(text)
    condition = _CONDITION.fullmatch(rest)
    if condition is None:
        raise _error(text, f"after the path comes one of {' '.join(OPERATORS)} and a number, not {rest!r}")
    try:
        _check(path)
    except _NotFound as why:
        raise _error(text, str(why)) from None
    sign, number = condition.groups()
    return Gate(text=text.strip(), path=path, operator=cast(Operator, sign), number=float(number))


def failures(gates: Iterable[Gate], report: Mapping[str, Json]) -> list[str]:
    """Why the report fails: a sentence for each gate whose condition holds, or can't be known not to hold.

    Args:
        report: `Comparison.to_json()`.
    """
    return [sentence for gate in gates if (sentence := _failure(gate, report)) is not None]


def _failure(gate: Gate, report: Mapping[str, Json]) -> str | None:
    try:
        value = _value(gate.path, report)
    except _NotFound as why:
        return f"{gate.text}: {why}"
    return f"{gate.text}: it is {value:g}" if gate.holds(value) else None


def _split(text: str) -> tuple[tuple[str, ...], str]:
    """The steps of the path that a condition starts with, and what comes after it."""
    rest = text.lstrip()
    steps: list[str] = []
    while True:
        in_brackets = _BRACKETS.match(rest) if steps else None
        key = _KEY.match(rest, len(steps) > 0) if not steps or rest.startswith(".") else None
        found = in_brackets or key
        if found is None:
            break
        quoted = in_brackets and in_brackets.group(1)
        steps.append(quoted or (in_brackets.group(2) if in_brackets else found.group()))
        rest = rest[found.end() :]
    if not steps:
        raise _error(text, "a path into report.json comes first")
    return tuple(steps), rest


def _error(text: str, why: str) -> ConfigError:
    return ConfigError(f"--fail-if {text!r}: {why}; write PATH OPERATOR NUMBER, for example {EXAMPLE!r}")


def _check(path: Sequence[str]) -> None:
    """Refuse a path that no report has; names of list elements are only known with the report.

    Raises:
        _NotFound: a key is none, or what it leads to is no number.
    """
    kind: Kind = Comparison
    for number, step in enumerate(path):
        keys, entry = keys_of(kind), element_kind(kind)
        if keys and step not in keys:
            raise _NotFound(f"there is no {_joined(path[: number + 1])}{_near(step, keys)}")
        if is_list(kind) and step in keys_of(entry):
            raise _NotFound(_list_without_name(path[:number], f".{step}"))
        if not keys and entry is None:
            raise _NotFound(f"{_joined(path[:number])} has no parts, so no {step!r}")
        kind = keys[step] if keys else entry
    if is_number(kind):
        return
    if is_list(kind):
        raise _NotFound(_list_without_name(path, ""))
    keys = keys_of(kind)
    raise _NotFound(
        f"{_joined(path)} is no number" + (f"; it has the parts {', '.join(keys)}" if keys else "")
    )


def _list_without_name(path: Sequence[str], rest: str) -> str:
    where = _joined(path)
    return f"{where} is a list: name one of its elements, or give its index, as in {where}[NAME]{rest}"


def _near(step: str, keys: Mapping[str, Kind]) -> str:
    """Keys like one that is missing, or in which it is found, in words."""
    inside = [f"{name}.{step}" for name, kind in keys.items() if step in keys_of(kind)]
    near = inside[:3] + get_close_matches(step, keys, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(keys)}"


def _value(path: Sequence[str], report: Mapping[str, Json]) -> float:
    """The number at a path.

    Raises:
        _NotFound: there is none, or it is null.
    """
    at: Json = report
    for number, step in enumerate(path):
        if at is None:
            break
        where = _joined(path[:number]) or "report.json"
        if isinstance(at, list):
            at = _element(at, step, where)
        elif isinstance(at, Mapping) and step in at:
            at = at[step]
        else:
            raise _NotFound(_missing(step, where, list(at) if isinstance(at, Mapping) else []))
    if at is None:
        raise _NotFound(
            f"{_joined(path)} is null in this report: unknown, infinite, or not asked for, which is no pass"
        )
    if not isinstance(at, int | float):
        raise _NotFound(f"{_joined(path)} is no number in this report")
    return float(at)


def _element(elements: Sequence[Json], step: str, where: str) -> Json:
    """The element of a list by its name, or by its index from 0."""
    named = [one for one in elements if step in _labels(one)]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        longer = " or ".join(_labels(one)[-1] for one in named)
        raise _NotFound(f"{len(named)} elements of {where} are named {step!r}: write {longer}, or an index")
    if step.isdecimal() and int(step) < len(elements):
        return elements[int(step)]
    raise _NotFound(_missing(step, where, [label for one in elements for label in _labels(one)[:1]]))


def _labels(element: Json) -> list[str]:
    """What an element of a list is called: its name, and for a slice also "dimension: name"."""
    if not isinstance(element, Mapping) or "name" not in element:
        return []
    name = str(element["name"])
    return [name, f"{element['dimension']}: {name}"] if "dimension" in element else [name]


def _missing(step: str, where: str, names: Sequence[str]) -> str:
    near = get_close_matches(step, names, n=3, cutoff=0.5)
    if near:
        return f"there is no {step!r} in {where}; did you mean {' or '.join(near)}?"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    there = f"; there are {', '.join(names[:_MOST_NAMED])}{more}" if names else ""
    return f"there is no {step!r} in {where}{there}"


def _joined(path: Sequence[str]) -> str:
    """A path as it is written."""
    plain = [f".{step}" if _KEY.fullmatch(step) else f"[{step}]" for step in path]
    return "".join(plain).removeprefix(".")
