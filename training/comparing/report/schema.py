"""The keys of report.json, read off the values that it is written from."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from training.comparing.evaluated import Comparison
from training.statistics.intervals import Interval

Kind: TypeAlias = Any
"""A type annotation."""

INTERVAL_KEYS = ("value", "ci_low", "ci_high", "above")


def keys_of(kind: Kind) -> dict[str, Kind]:
    """The keys of an object of report.json and the kind behind each; empty where there are no fixed keys."""
    kind = known(kind)
    if kind is Interval:
        return dict.fromkeys(INTERVAL_KEYS, float)
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return {}
    hints = typing.get_type_hints(kind)
    first = {"format": int} if kind is Comparison else {}
    return first | {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def element_kind(kind: Kind) -> Kind | None:
    """What a list or an object of free keys holds; None for anything else."""
    kind = known(kind)
    arguments = typing.get_args(kind)
    if _container(kind) is Mapping:
        return arguments[1]
    return arguments[0] if is_list(kind) else None


def is_list(kind: Kind) -> bool:
    """Whether JSON holds it as a list."""
    return _container(known(kind)) in (tuple, Sequence)


def _container(kind: Kind) -> Any:  # noqa: ANN401 - a class, or None
    return typing.get_origin(kind)


def is_number(kind: Kind) -> bool:
    """Whether JSON may hold it as a number, or as true or false."""
    kind = known(kind)
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(part in (int, float, bool) for part in parts)


def known(kind: Kind) -> Kind:
    """The kind without None."""
    if not isinstance(kind, types.UnionType):
        return kind
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole | part
    return whole


def objects(kind: Kind = Comparison) -> dict[str, dict[str, Kind]]:
    """The keys of every kind of object of fixed keys in report.json, by its class, outermost first."""
    kind = known(kind)
    found: dict[str, dict[str, Kind]] = {}
    if keys := keys_of(kind):
        found[kind.__name__] = keys
    for inner in [*keys.values(), element_kind(kind)]:
        if inner is not None:
            found = {**found, **{name: each for name, each in objects(inner).items() if name not in found}}
    return found
