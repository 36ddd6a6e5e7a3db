"""The keys of report.json, derived from the dataclasses that it is written from."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from training.comparing.evaluated import Comparison
from training.statistics.intervals import Interval

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
