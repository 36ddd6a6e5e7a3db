"""Turns raw values into canonical columns: what a logged call may hold, and why a row is rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from router.effort import effort_in, endpoint_of
from router.records import BoolArray, FloatArray, Json
from training.readers.cells import (
    any_json,
    boolean,
    chat_messages,
    excerpt,
    identifier,
    json_cell,
    microseconds,
    number,
    of_texts_only,
    plain_text,
    stated_effort,
    tag_list,
)
from training.readers.message_shapes import chat_of, holds_prompt, is_chat, is_message
from training.readers.protocol import NO_TEXT, SEVERAL_PROMPTS
from training.readers.token_kinds import TOKEN_KINDS
from training.reading.files.raw import RawRows

_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.large_string()

CALL_SCHEMA = pa.schema(
    {
        "call_id": _TEXT, "session_id": _TEXT, "time": _TIME, "prompt": _TEXT, "messages": _TEXT,
        "tools": _TEXT, "response_format": _TEXT, "task_type": _TEXT, "tags": pa.large_list(_TEXT),
        "model": _TEXT, "success": pa.bool_(), "score": pa.float64(), "outcome_source": _TEXT,
        "cost_usd": pa.float64(), "input_tokens": pa.int64(), "output_tokens": pa.int64(),
        "latency_s": pa.float64(), "propensity": pa.float64(), "policy_version": _TEXT,
        "decision_source": _TEXT, "confidence": pa.float64(), "sampling_probability": pa.float64(),
        "truncated": pa.bool_(), "effort": _TEXT, "expected_cost_usd": pa.float64(),
        "graded": pa.float64(), "graded_source": _TEXT, "served_model": _TEXT,
        "cached_input_tokens": pa.int64(), "cache_write_tokens": pa.int64(), "reasoning_tokens": pa.int64(),
    }
)  # fmt: skip
"""The canonical call log; `messages`, `tools` and `response_format` are JSON text."""

RUNTIME_FIELDS = ("prompt_key", "error")
"""Columns of the runtime's log that the checks need beside the fields of the canonical log."""

TEXT_NOT_KEPT = "text was not kept (log.text: hash)"

_KEY_FIELDS = frozenset({"prompt", "messages", "tools", "response_format"})
_MAX_WHOLE = 2.0**53

_dump_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRows:
    """The same rows, checked.

    Attributes:
        columns: one array per field of `CALL_SCHEMA`, each as long as the raw rows.
        keys: prompt key of each row; "" if the row is not a call.
        problems: reason and excerpt of the offending value per rejected row.
        without_text: valid rows whose prompt text was not logged, only its key.
        repaired: number of calls in which a lone surrogate was replaced.
        skipped: reason of each valid row that holds no prompt to learn from.
        left_out: number of bad values in spared fields, per reason.
        split: names that end in an effort and were split into model and effort, other than the router's own.
    """

    columns: Mapping[str, pa.Array]
    keys: Sequence[str]
    problems: Mapping[int, tuple[str, str]]
    without_text: Set[int]
    repaired: int
    skipped: Mapping[int, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    split: Set[str] = frozenset()


_NO_ALIASES: Mapping[str, str] = {}


def clean_rows(rows: RawRows, aliases: Mapping[str, str] = _NO_ALIASES) -> CleanRows:
    """Check every value and bring it into canonical form; a bad row is reported, not raised.

    Args:
        aliases: the name that a model counts under, by the name in the row.
    """
    cleaner = _Cleaner(rows, aliases)
    columns = {name: cleaner.column(name) for name in CALL_SCHEMA.names if name not in _KEY_FIELDS}
    split = _split_actions(columns, aliases, cleaner.keyed)
    keys = cleaner.prompts(columns)
    no_calls = cleaner.problems.keys() | cleaner.without_text | cleaner.skipped.keys()
    return CleanRows(
        columns=columns,
        keys=keys,
        problems=cleaner.problems,
        without_text=cleaner.without_text - cleaner.problems.keys(),
        repaired=len(cleaner.repaired - no_calls),
        skipped={row: why for row, why in cleaner.skipped.items() if row not in cleaner.problems},
        left_out=cleaner.left_out,
        split=split,
    )


def _split_actions(
    columns: dict[str, pa.Array], aliases: Mapping[str, str], keyed: Sequence[bool]
) -> Set[str]:
    """Put the effort that a model's name ends in, as in the router's own log, into the column for it.

    Args:
        keyed: whether each row is one of the router's own log.

    Returns:
        The names that were split in other rows than those.
    """
    if not any(name and effort_in(name) for name in columns["model"].unique().to_pylist()):
        return frozenset()
    names, efforts = (columns[name].to_pylist() for name in ("model", "effort"))
    named = [name and effort_in(name) for name in names]
    models = [name and endpoint_of(name) for name in names]
    columns["model"] = pa.array([aliases.get(model, model) for model in models], _TEXT)
    columns["effort"] = pa.array([one or other for one, other in zip(efforts, named, strict=True)], _TEXT)
    split = zip(names, named, keyed, strict=True)
    return frozenset(name for name, effort, is_own in split if effort and not is_own)


_Checks: TypeAlias = Callable[[FloatArray], Sequence[tuple[BoolArray, str]]]


def _amount(values: FloatArray) -> Sequence[tuple[BoolArray, str]]:
    return [(np.isinf(values), "is not finite"), (values < 0, "is negative")]


def _count(values: FloatArray) -> Sequence[tuple[BoolArray, str]]:
    whole = np.where(np.isnan(values) | np.isinf(values), 0, values)
    return [*_amount(values), ((whole != np.floor(whole)) | (whole > _MAX_WHOLE), "is not a whole number")]


def _share(values: FloatArray) -> Sequence[tuple[BoolArray, str]]:
    return [((values < 0) | (values > 1), "is outside [0, 1]")]


def _chance(values: FloatArray) -> Sequence[tuple[BoolArray, str]]:
    return [((values <= 0) | (values > 1), "is outside (0, 1]")]


_RANGES: Mapping[str, _Checks] = {
    "score": _share, "cost_usd": _amount, "input_tokens": _count, "output_tokens": _count,
    "latency_s": _amount, "propensity": _chance, "confidence": _share, "sampling_probability": _chance,
    "expected_cost_usd": _amount, "graded": _share, **dict.fromkeys(TOKEN_KINDS, _count),
}  # fmt: skip
_CLEANERS: Mapping[str, Callable[[Json], Json]] = {
    "time": microseconds, "tags": tag_list, "success": boolean, "truncated": boolean,
    "effort": stated_effort,
}  # fmt: skip
_SPARED = frozenset({"graded", "graded_source", *TOKEN_KINDS})
"""Columns that other programs' logs may hold with another meaning: a bad value never rejects a call."""
_ANSWER_FIELDS = frozenset({"cost_usd", "input_tokens", "output_tokens", *TOKEN_KINDS})
"""A zero in these means no answer, not a free one, if the runtime's log has an error in the row."""
_PLAIN_TEXT = {str, type(None)}
_PLAIN_BOOLEANS = {bool, type(None)}
_PLAIN_NUMBERS = {float, type(None)}


class _Cleaner:
    """Checks one batch, and keeps the first problem of each row."""

    def __init__(self, rows: RawRows, aliases: Mapping[str, str]) -> None:
        self.rows = rows
        self.aliases = aliases
        self.problems = dict(rows.broken)
        self.repaired = set(rows.repaired)
        self.without_text: set[int] = set()
        self.skipped: dict[int, str] = {}
        self.left_out: Counter[str] = Counter()
        self.keyed = [bool(key) and isinstance(key, str) for key in self._raw("prompt_key")]
        errors = zip(self._raw("error"), self.keyed, strict=True)
        self._failed = np.array([bool(error) and keyed for error, keyed in errors], dtype=bool)

    def column(self, name: str) -> pa.Array:
        """One canonical column."""
        values = self.rows.columns.get(name)
        if values is None:
            if name == "model":
                self._need_model(self._raw(name))
            return _fill_truncated(name, pa.nulls(len(self.rows.lines), CALL_SCHEMA.field(name).type))
        if name in _RANGES:
            return self._numbers(name, values)
        values = self._each(name, values, _CLEANERS.get(name, identifier))
        if name == "model":
            self._need_model(values)
            values = [self.aliases.get(model, model) for model in values] if self.aliases else values
        return _fill_truncated(name, pa.array(values, CALL_SCHEMA.field(name).type))

    def prompts(self, columns: dict[str, pa.Array]) -> list[str]:
        """The key of each row; adds prompt, messages, tools and response format to `columns`."""
        texts = self._each("prompt", self._texts(self._raw("prompt")), plain_text)
        messages = self._parsed("messages", _messages)
        tools, formats = self._parsed("tools", any_json), self._parsed("response_format", any_json)
        self._need_prompt(texts, messages)
        for name, values in (("messages", messages), ("tools", tools), ("response_format", formats)):
            columns[name] = pa.array([value and value[1] for value in values], _TEXT)
        columns["prompt"] = pa.array(texts, _TEXT)
        columns_in_order = {name: columns[name] for name in CALL_SCHEMA.names}
        columns.clear()
        columns.update(columns_in_order)
        tails = _Tails()
        without = (row for row, pair in enumerate(zip(texts, messages, strict=True)) if pair == (None, None))
        not_calls = {*self.problems, *self.without_text, *without}
        return [
            "" if row in not_calls else _key(text, message, tails.of(tool, form))
            for row, (text, message, tool, form) in enumerate(
                zip(texts, messages, tools, formats, strict=True)
            )
        ]

    def _raw(self, name: str) -> Sequence[Json]:
        """The raw values of a column; all None if the file lacks it."""
        values = self.rows.columns.get(name)
        return [None] * len(self.rows.lines) if values is None else values

    def _parsed(self, name: str, check: Callable[[Json], Json]) -> Sequence[tuple[Json, str] | None]:
        """Value and JSON text of each row of a JSON column; None if the row has no value."""
        values = self.rows.columns.get(name)
        if values is None:
            return [None] * len(self.rows.lines)
        seen: dict[str, tuple[tuple[Json, str] | None, bool]] = {}  # logs often repeat a text, once per model
        parsed: list[tuple[Json, str] | None] = []
        for row, value in enumerate(values):
            try:
                known = seen.get(value) if isinstance(value, str) else None
                cell, repaired = known or json_cell(value, check)
            except ValueError as error:
                self._reject(row, f"{name} {error}", value)
                parsed.append(None)
                continue
            if isinstance(value, str):
                seen[value] = cell, repaired
            if repaired:
                self.repaired.add(row)
            parsed.append(cell)
        return parsed

    def _each(self, name: str, values: Sequence[Json], clean: Callable[[Json], Json]) -> Sequence[Json]:
        types = set(map(type, values))
        if types <= _PLAIN_TEXT and clean in (plain_text, identifier):
            return [value or None for value in values]
        if types <= _PLAIN_BOOLEANS and clean is boolean:
            return values
        cleaned = []
        for row, value in enumerate(values):
            try:
                cleaned.append(clean(value))
            except ValueError as error:
                cleaned.append(None)
                self._reject(row, f"{name} {error}", value)
        return cleaned

    def _numbers(self, name: str, values: Sequence[Json]) -> pa.Array:
        plain = set(map(type, values)) <= _PLAIN_NUMBERS
        numbers = np.array(values if plain else self._each(name, values, number), dtype=np.float64)
        for bad, reason in _RANGES[name](numbers):
            for row in np.flatnonzero(bad):
                self._reject(int(row), f"{name} {reason}", values[int(row)])
            numbers[bad] = np.nan
        if name in _ANSWER_FIELDS:
            numbers[self._failed & (numbers == 0)] = np.nan
        array = pa.array(numbers, pa.float64(), mask=np.isnan(numbers))
        return array.cast(CALL_SCHEMA.field(name).type)

    def _need_model(self, values: Sequence[Json]) -> None:
        for row, value in enumerate(values):
            if value is None:
                self._reject(row, "model is missing", None)

    def _need_prompt(self, texts: Sequence[Json], messages: Sequence[Json]) -> None:
        for row, (text, message) in enumerate(zip(texts, messages, strict=True)):
            if message is not None:
                self.skipped.pop(row, None)
            if row in self.skipped:
                continue
            if text is None and message is None and self.keyed[row]:
                self.without_text.add(row)
            elif not holds_prompt(text if message is None else message[0]) and (text or message):
                self.skipped[row] = NO_TEXT.reason
            elif text is None and message is None:
                self._reject(row, "prompt and messages are missing or empty", None)

    def _texts(self, values: Sequence[Json]) -> Sequence[Json]:
        """The prompts as texts; a row with token numbers or several texts in its place is skipped."""
        if set(map(type, values)) <= _PLAIN_TEXT:
            return values
        texts: list[Json] = []
        for row, value in enumerate(values):
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
                value = value[0]
            if isinstance(value, list) and value:
                several = any(isinstance(one, str) for one in value)
                self.skipped[row] = (SEVERAL_PROMPTS if several else NO_TEXT).reason
                value = None
            texts.append(value)
        return texts

    def _reject(self, row: int, reason: str, value: object) -> None:
        if reason.partition(" ")[0] in self.rows.spared | _SPARED:
            self.left_out[reason] += 1
        elif row not in self.problems:
            self.problems[row] = reason, excerpt(value)


def _messages(value: Json) -> Json:
    """Messages of the chat protocol, also from those of others; of what is no message, nothing is made."""
    if isinstance(value, list) and is_chat(value):
        return value
    one = [value] if is_message(value) else value
    return chat_messages(chat_of(one) if isinstance(one, list) else one)


class _Tails:
    """The end of a key's text, from tools and response format; serialises each pair once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, str | None], str] = {}

    def of(self, tools: tuple[Json, str] | None, response_format: tuple[Json, str] | None) -> str:
        if tools is None and response_format is None:
            return ",null,null]"
        pair = tools and tools[1], response_format and response_format[1]
        if pair not in self._known:
            values = (tools and tools[0]) or None, (response_format and response_format[0]) or None
            self._known[pair] = f",{_dump_sorted(values[0])},{_dump_sorted(values[1])}]"
        return self._known[pair]


def _key(text: str | None, messages: tuple[Json, str] | None, tail: str) -> str:
    """The same key as `router.records.prompt_key` returns, from parts that are serialised once."""
    head = _sorted_text([{"role": "user", "content": text or ""}] if messages is None else messages[0])
    return sha256(f"[{head}{tail}".encode("ascii")).hexdigest()[:32]


def _sorted_text(messages: Json) -> str:
    """The messages as `_dump_sorted` writes them, plain ones much faster."""
    if of_texts_only(messages):
        texts = (
            f'{{"content":{encode_basestring_ascii(one["content"])},"role":{encode_basestring_ascii(one["role"])}}}'
            for one in messages
        )
        return f"[{','.join(texts)}]"
    return _dump_sorted(messages)


def _fill_truncated(name: str, array: pa.Array) -> pa.Array:
    if name == "truncated":
        return array.fill_null(False)
    if name == "tags" and array.null_count:
        return pa.array([tags or [] for tags in array.to_pylist()], array.type)
    return array
