"""Conditions on report.json under which a comparison fails a build.

condition = path operator number                 (blanks around the operator are free)
path      = key { "." key | "[" name "]" }
key       = letter or "_", then letters, digits and "_"
name      = text without quotes and brackets, or any text in double quotes
operator  = ">" | ">=" | "<" | "<=" | "==" | "!="
number    = a decimal number: 1, -0.01, 5e-4
"""

from __future__ import annotations

import dataclasses
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, cast

from router.errors import ConfigError
from router.records import Json
from training.comparing.evaluated import Comparison
from training.statistics.intervals import Interval

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
_STEP = re.compile(rf'\.({_KEY.pattern})|\[\s*(?:"([^"]*)"|([^\[\]"]*[^\[\]"\s]))\s*\]')
_COMPARISON = re.compile(
    rf"\s*({'|'.join(OPERATORS)})\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", re.ASCII
)
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A condition that must not hold.

    Attributes:
        text: the condition as the user wrote it.
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


INTERVAL_KEYS = ("value", "ci_low", "ci_high", "above")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What report.json holds in one place, if it does not hold null.

    Attributes:
        name: class of an object with fixed keys; empty otherwise.
        keys: the fixed keys of an object, and the shape behind each.
        entry: shape of the elements of a list, or of the values of an object with free keys.
        is_list: a list.
        is_number: a number, true or false.
    """

    name: str = ""
    keys: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    entry: Shape | None = None
    is_list: bool = False
    is_number: bool = False


@cache
def shape_of(annotation: Any) -> Shape:  # noqa: ANN401 - any type annotation
    """The shape of what is written for a type annotation."""
    union = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    parts = [part for part in union if part is not type(None)]
    kind, container, arguments = parts[0], typing.get_origin(parts[0]), typing.get_args(parts[0])
    if kind is Interval:
        return Shape(name=kind.__name__, keys=dict.fromkeys(INTERVAL_KEYS, Shape(is_number=True)))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        annotations = {"format": int, **fields} if kind is Comparison else fields
        return Shape(name=kind.__name__, keys={key: shape_of(inner) for key, inner in annotations.items()})
    if container is Mapping:
        return Shape(entry=shape_of(arguments[1]))
    if container in (tuple, Sequence):
        return Shape(entry=shape_of(arguments[0]), is_list=True)
    return Shape(is_number=any(part in (int, float, bool) for part in parts))


def objects(shape: Shape | None = None) -> dict[str, Shape]:
    """The objects with fixed keys in report.json, by the name of their class, outermost first."""
    shape = shape or shape_of(Comparison)
    by_name = {shape.name: shape} if shape.keys else {}
    for inner in [*shape.keys.values(), shape.entry]:
        if inner is not None:
            by_name |= {name: each for name, each in objects(inner).items() if name not in by_name}
    return by_name


class _NoNumber(Exception):
    """Why there is no number at a path."""


def parse_gate(text: str) -> Gate:
    """Parse a condition, and check its path against the keys that a report can have.

    Raises:
        ConfigError: the text does not follow the grammar, or report.json has no such key.
    """
    path, rest = _tokens(text)
    comparison = _COMPARISON.fullmatch(rest)
    if comparison is None:
        raise _error(text, f"after the path comes one of {' '.join(OPERATORS)} and a number, not {rest!r}")
    try:
        _check(path)
    except _NoNumber as why:
        raise _error(text, str(why)) from None
    sign, number = comparison.groups()
    return Gate(text=text.strip(), path=path, operator=cast(Operator, sign), number=float(number))


def failures(gates: Iterable[Gate], report: Mapping[str, Json]) -> list[str]:
    """Say why the report fails: a sentence for each condition that holds or whose number is unknown.

    Args:
        report: `Comparison.to_json()`.
    """
    return [sentence for gate in gates if (sentence := _failure(gate, report)) is not None]


def _failure(gate: Gate, report: Mapping[str, Json]) -> str | None:
    try:
        value = _value(gate.path, report)
    except _NoNumber as why:
        return f"{gate.text}: {why}"
    return f"{gate.text}: it is {value:g}" if gate.holds(value) else None


def _tokens(text: str) -> tuple[tuple[str, ...], str]:
    """The steps of the path that a condition starts with, and the text after it."""
    steps: list[str] = []
    rest = "." + text.lstrip()  # so that the first key reads like those after it
    while step := _STEP.match(rest):
        steps.append(next(part for part in step.groups() if part is not None))
        rest = rest[step.end() :]
    if not steps:
        raise _error(text, "a path into report.json comes first")
    return tuple(steps), rest


def _error(text: str, why: str) -> ConfigError:
    return ConfigError(f"--fail-if {text!r}: {why}; write PATH OPERATOR NUMBER, for example {EXAMPLE!r}")


def _check(path: Sequence[str]) -> None:
    """Check the keys of a path. The names of list elements are known only once there is a report.

    Raises:
        _NoNumber: there is no such key, or it does not lead to a number.
    """
    shape = shape_of(Comparison)
    for place, step in enumerate(path):
        before = path[:place]
        if shape.is_list and shape.entry and step in shape.entry.keys:
            raise _NoNumber(_list_without_name(before, f".{step}"))
        inner = shape.keys.get(step, shape.entry)
        if inner is None and shape.keys:
            raise _NoNumber(f"there is no {_joined([*before, step])}{_suggestion(step, shape.keys)}")
        if inner is None:
            raise _NoNumber(f"{_joined(before)} has no parts, so no {step!r}")
        shape = inner
    if shape.is_list:
        raise _NoNumber(_list_without_name(path, ""))
    if not shape.is_number:
        parts = f"; it has the parts {', '.join(shape.keys)}" if shape.keys else ""
        raise _NoNumber(f"{_joined(path)} is not a number{parts}")


def _list_without_name(path: Sequence[str], rest: str) -> str:
    where = _joined(path)
    return f"{where} is a list: name one of its elements, or give its index, as in {where}[NAME]{rest}"


def _suggestion(step: str, keys: Mapping[str, Shape]) -> str:
    """Keys that hold or resemble a missing one, as a clause; all keys if there are none."""
    inside = [f"{name}.{step}" for name, shape in keys.items() if step in shape.keys]
    near = inside[:3] + get_close_matches(step, keys, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(keys)}"


def _value(path: Sequence[str], report: Mapping[str, Json]) -> float:
    """The number at a path.

    Raises:
        _NoNumber: the report has no such element, or something other than a number, in this place.
    """
    value: Json = report
    for place, step in enumerate(path):
        if value is None:
            break
        where = _joined(path[:place]) or "report.json"
        if isinstance(value, list):
            value = _element(value, step, where)
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            raise _NoNumber(_missing(step, where, list(value) if isinstance(value, Mapping) else []))
    if value is None:
        raise _NoNumber(
            f"{_joined(path)} is null in this report: unknown, infinite or not requested, so the gate fails"
        )
    if not isinstance(value, int | float):
        raise _NoNumber(f"{_joined(path)} is not a number in this report")
    return float(value)


def _element(elements: Sequence[Json], step: str, where: str) -> Json:
    """Find an element of a list by its index from 0, or by its name, where "70%" is "70 %" too."""
    named = [element for element in elements if step in _labels(element)]
    named = named or [
        element
        for element in elements
        if step.replace(" %", "%") in (label.replace(" %", "%") for label in _labels(element))
    ]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        longer = " or ".join(_labels(element)[-1] for element in named)
        raise _NoNumber(f"{len(named)} elements of {where} are named {step!r}: write {longer}, or an index")
    if step.isdecimal() and int(step) < len(elements):
        return elements[int(step)]
    raise _NoNumber(_missing(step, where, [label for element in elements for label in _labels(element)[:1]]))


def _labels(element: Json) -> list[str]:
    """The names of a list element: its `name`, and for a slice also "dimension: name"."""
    if not isinstance(element, Mapping) or "name" not in element:
        return []
    name = str(element["name"])
    return [name, f"{element['dimension']}: {name}"] if "dimension" in element else [name]


def _missing(step: str, where: str, names: Sequence[str]) -> str:
    near = get_close_matches(step, names, n=3, cutoff=0.5)
    if near:
        return f"there is no {step!r} in {where}; did you mean {' or '.join(near)}?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    choices = f"; there are {', '.join(names[:_MOST_NAMES])}{more}" if names else ""
    return f"there is no {step!r} in {where}{choices}"


def _joined(path: Sequence[str]) -> str:
    """A path as a user writes it."""
    plain = [f".{step}" if _KEY.fullmatch(step) else f"[{step}]" for step in path]
    return "".join(plain).removeprefix(".")
