"""Cheap numbers of an answer and its prompt, from which a grader learns how likely the answer is good."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from router.forecasting.encoder import Encoding, head_and_tail
from router.forecasting.features import STRUCTURE, FeatureSpec, featurize
from router.records import Json, Request, message_texts

READ_CHARACTERS = 8_000
"""Characters of an answer, from head and tail, that are read: a huge one costs no more."""
TOOL_VALUES = 200
"""Values in the arguments of tool calls that are looked up in the prompt."""

_SHAPE = FeatureSpec(task_types=(), tags=(), gram_dimensions=1)
_NO_VECTOR = np.zeros(1, dtype=np.float32)
_HEDGES = re.compile(
    r"\b(?:however|but wait|wait,|hmm|actually|not sure|unsure|unclear|assum(?:e|ing|ption)|perhaps|maybe"
    r"|might|probably|likely|approximately|about|seems?|let's re|re-?(?:evaluate|check|examine|consider)"
    r"|mistake|error|incorrect|contradict\w{0,4}|impossible|no solution|not possible|cannot be)\b"
)
_REFUSALS = re.compile(
    r"\b(?:i'm sorry|i am sorry|i apologi[sz]e|as an ai|i can(?:no|')t|i am unable|i'm unable|unable to"
    r"|not able to|not provided|no information)\b"
)
_STEPS = re.compile(r"\b(?:step|first|second|third|then|next|finally|therefore|thus|hence|so)\b")
# Every repetition is bounded, so that the time is linear for any text.
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]{0,14}(?:\.\d{1,8})?(?![\w])")
_EQUATION = re.compile(
    r"(?<![\w.^])(-?\d[\d,]{0,14}(?:\.\d{1,8})?)[ $%]{0,3}"
    r"([-+*/x\u00d7\u00f7\u00b7]|\\times|\\cdot|\\div)[ $]{0,3}(\d[\d,]{0,14}(?:\.\d{1,8})?)"
    r"[^\d\n=]{0,12}=[ $]{0,3}(-?\d[\d,]{0,14}(?:\.\d{1,8})?)(?![\w/^*])"
)
_TIMES, _OVER = (
    frozenset({"*", "x", "\u00d7", "\u00b7", "\\times", "\\cdot"}),
    frozenset({"/", "\u00f7", "\\div"}),
)
_FENCE = re.compile(r"```(?:json)?[ \t]{0,9}\n")
_NUMERIC = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": _NUMERIC, "float": _NUMERIC, "boolean": (bool,),
    "array": (list,), "list": (list,), "tuple": (list,), "object": (dict,), "dict": (dict,),
    "null": (type(None),),
}  # fmt: skip
"""Types of JSON schemas, and other words that tool definitions use for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model answered, in any protocol.

    Attributes:
        text: None if it wrote none.
        calls: name and arguments of each tool call; the arguments as JSON text or parsed.
    """

    text: str | None
    calls: Sequence[tuple[str | None, Json]]


def answer_numbers(
    request: Request,
    answer: Answer,
    *,
    finish_reason: str | None = None,
    output_tokens: float | None = None,
    keeps_form: bool | None = None,
) -> Mapping[str, float]:
    """The numbers by name, all finite; time is linear in the text, and bounded.

    Args:
        finish_reason: in the words of the chat protocol.
        keeps_form: whether the answer has the form that its request asks for; None: unknown, or it asks for
            none.
    """
    prompt = head_and_tail(_last_texts(request), READ_CHARACTERS)
    text = head_and_tail(answer.text or "", READ_CHARACTERS)
    length, tokens = len(answer.text or ""), output_tokens or 0.0
    return {
        **{f"prompt {name}": value for name, value in _structure(prompt, _shape_of(request)).items()},
        **{name: value for name, value in _structure(text).items() if name in _OF_TEXT},
        "characters": math.log1p(length),
        "long": max(math.log1p(length) - 7.0, 0.0),
        "output tokens": math.log1p(tokens),
        "many tokens": max(math.log1p(tokens) - 6.0, 0.0),
        "unknown tokens": float(output_tokens is None),
        "no text": float(not text.strip()),
        "cut": float(finish_reason == "length"),
        "filtered": float(finish_reason == "content_filter"),
        "form kept": float(keeps_form is True),
        "form broken": float(keeps_form is False),
        **_wording(text, prompt),
        **_arithmetic(text, prompt),
        **_json_answer(text),
        **_tool_calls(answer.calls, request, prompt),
        **_form(answer, text, request),
    }


_OF_TEXT = frozenset(STRUCTURE) - {
    "tokens", "turns", "system", "images", "response_format", "tools", "tool_characters", "tool_properties",
    "tool_required", "tool_depth", "tool_overlap",
}  # fmt: skip


def _last_texts(request: Request) -> str:
    return "\n".join(text for _, text in message_texts(request.messages))


def _shape_of(request: Request) -> str | None:
    """The tools as JSON text, which can be cached."""
    return _written(request.tools) if request.tools else None


@lru_cache(maxsize=512)
def _structure(text: str, tools: str | None = None) -> Mapping[str, float]:
    """The router's own numbers of a text; cached because a log repeats prompts, once per model."""
    request = Request.of(text, tools=json.loads(tools) if tools else None)
    encoding = Encoding(vector=_NO_VECTOR, tokens=len(text) // 4)
    return dict(
        zip(STRUCTURE, map(float, featurize([request], [encoding], _SHAPE).structure[0]), strict=True)
    )


def _wording(text: str, prompt: str) -> Mapping[str, float]:
    """Hedging, refusal, steps, repetition, and how the text ends."""
    lowered, packed = text.lower(), text.encode("utf-8", "replace")
    words = lowered.split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own, others = set(words), set(prompt.lower().split())
    return {
        "hedges": math.log1p(len(_HEDGES.findall(lowered))),
        "refusals": math.log1p(len(_REFUSALS.findall(lowered[:500]))),
        "steps": math.log1p(len(_STEPS.findall(lowered))),
        "distinct trigrams": len(set(trigrams)) / len(trigrams) if trigrams else 1.0,
        "compressed": len(zlib.compress(packed, 1)) / max(len(packed), 64),
        "repeated lines": sum(one == other for one, other in pairwise(lines)) / max(len(lines), 1),
        "whole end": float(text.rstrip()[-1:] in set(".!?}])`\"'$*|>")),
        "last line": math.log1p(len(lines[-1]) if lines else 0),
        "from the prompt": len(own & others) / max(len(own), 1),
        "of the prompt": len(own & others) / max(len(others), 1),
        "boxed": float("\\boxed" in text),
    }


def _arithmetic(text: str, prompt: str) -> Mapping[str, float]:
    """Stated equations and whether they are true, and where the last number comes from."""
    equations = _EQUATION.findall(text)
    results = [_is_true(*one) for one in equations]
    stated = [value for value in results if value is not None]
    numbers, asked = _NUMBER.findall(text), set(_NUMBER.findall(prompt))
    last, before = (numbers[-1] if numbers else ""), numbers[:-1]
    final = equations[-1][3] if equations else ""
    return {
        "equations": math.log1p(len(stated)),
        "false equations": math.log1p(stated.count(False)),
        "false share": stated.count(False) / max(len(stated), 1),
        "no number": float(not numbers),
        "last repeated": math.log1p(before.count(last)) if last else 0.0,
        "last is a result": float(bool(final) and _value(final) == _value(last)),
        "last was asked": float(last in asked),
        "last is whole": float(bool(last) and "." not in last),
        "last size": math.log1p(min(abs(_value(last)), 1e9)) if last else 0.0,
        "last is negative": float(last.startswith("-")),
        "numbers used": len(asked & set(numbers)) / max(len(asked), 1),
        "new numbers": math.log1p(len(set(numbers) - asked)),
    }


def _written(value: object) -> str:
    """A value as JSON text; empty if it is too deep."""
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return ""


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _is_true(left: str, sign: str, right: str, stated: str) -> bool | None:
    """Whether `left sign right = stated`, up to rounding; None if it divides by 0."""
    a, b, result = map(_value, (left, right, stated))
    if sign in _OVER and b == 0:
        return None
    true = a * b if sign in _TIMES else a / b if sign in _OVER else a + b if sign == "+" else a - b
    return abs(true - result) <= 0.5 * 10.0 ** -len(stated.partition(".")[2]) + 1e-9 * abs(true)


def _json_answer(text: str) -> Mapping[str, float]:
    """Whether the text is, or looks like, one JSON object, and the shape of its last value."""
    inner, fenced = _without_fence(text)
    value = _parsed(inner) if inner.startswith(("{", "[")) else None
    last = list(value.values())[-1] if isinstance(value, dict) and value else None
    written = last if isinstance(last, str) else _written(last) if value is not None else ""
    return {
        "json": float(value is not None),
        "json broken": float(inner.startswith(("{", "[")) and value is None),
        "fenced": float(fenced),
        "last value": math.log1p(len(written)),
        "last value is a number": float(_NUMBER.fullmatch(written.strip(" $%")) is not None),
        "last value in text": float(0 < len(written) < 200 and text.count(written) > 1),
    }


def _without_fence(text: str) -> tuple[str, bool]:
    """A text without a Markdown fence around it, and whether it had one."""
    inner = text.strip()
    fence = _FENCE.search(inner)
    return (inner[fence.end() :].partition("```")[0] if fence else inner), fence is not None


def _parsed(text: str) -> Json:
    """The value of a JSON text; None if it is none, or too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _tool_calls(
    calls: Sequence[tuple[str | None, Json]], request: Request, prompt: str
) -> Mapping[str, float]:
    """How many tools are called, and how many of the arguments' values stand in the prompt."""
    values = [value for _, arguments in calls for value in _values(arguments)][:TOOL_VALUES]
    present = sum(value in prompt for value in values)
    return {
        "tool calls": math.log1p(len(calls)),
        "no tool call": float(bool(request.tools) and not calls),
        "arguments": math.log1p(len(values)),
        "arguments in the prompt": present / len(values) if values else 1.0,
        "repeated calls": float(len(set(map(_written, calls))) < len(calls)),
        "empty arguments": float(any(not arguments for _, arguments in calls)),
    }


def _values(arguments: Json) -> list[str]:
    """The plain values of a call's arguments as the prompt might state them, one level deep."""
    if isinstance(arguments, str):
        arguments = _parsed(arguments[:READ_CHARACTERS])
    items = list(arguments.values()) if isinstance(arguments, dict) else []
    flat = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return [str(item)[:100] for item in flat if isinstance(item, str | int | float)]


def _form(answer: Answer, text: str, request: Request) -> Mapping[str, float]:
    """How far tool calls fit the tools' signatures, and else a text the schema asked for, one level deep."""
    known = _signatures(request.tools)
    if answer.calls:
        unknown = sum(name not in known for name, _ in answer.calls) if known else 0
        asked = [(arguments, known.get(name)) for name, arguments in answer.calls]
    else:
        unknown, asked = 0, [(_without_fence(text)[0], _schema(request.response_format))]
    misfits = [_misfit(value, schema) for value, schema in asked if isinstance(schema, Mapping)]
    no_object, missing, extra, wrong = map(sum, zip(*misfits, strict=True)) if misfits else (0, 0, 0, 0)
    return {
        "unknown tools": math.log1p(unknown),
        "no object": math.log1p(no_object),
        "missing members": math.log1p(missing),
        "unknown members": math.log1p(extra),
        "wrong types": math.log1p(wrong),
    }


def _signatures(tools: Json) -> Mapping[Json, Json]:
    """The schema of each tool's arguments by its name, in the chat protocol's form or flat."""
    found = {}
    for tool in tools if isinstance(tools, list | tuple) else [tools]:
        flat = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if isinstance(flat, Mapping) and isinstance(flat.get("name"), str):
            found[flat["name"]] = flat.get("parameters")
    return found


def _schema(response_format: Json) -> Json:
    form = response_format if isinstance(response_format, Mapping) else {}
    if form.get("type") == "json_object":
        return {}
    whole = form.get("json_schema")
    return whole.get("schema") if isinstance(whole, Mapping) else None


def _misfit(value: Json, schema: Mapping[str, Json]) -> tuple[int, int, int, int]:
    """Whether a value is no object; how many of its members are missing, unknown or wrong."""
    value = _parsed(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return 1, 0, 0, 0
    required, members = schema.get("required"), schema.get("properties")
    required = required if isinstance(required, list | tuple) else ()
    members = members if isinstance(members, Mapping) else {}
    missing = sum(name not in value for name in required if isinstance(name, str))
    extra = sum(name not in members for name in value) if members else 0
    return 0, missing, extra, sum(not _fits(one, members.get(name)) for name, one in value.items())


def _fits(value: Json, schema: Json) -> bool:
    """Whether a value has the type and is among the values that a schema names; true where it names none."""
    if not isinstance(schema, Mapping):
        return True
    kinds = schema.get("type")
    types = [
        _TYPES.get(kind) for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)
    ]
    typed = not types or any(one is None or _is(value, one) for one in types)
    allowed = schema.get("enum")
    return typed and (not isinstance(allowed, list) or value in allowed)


def _is(value: Json, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (types == (bool,) or not isinstance(value, bool))


@lru_cache(maxsize=1)
def number_names() -> tuple[str, ...]:
    """The names of the numbers, in their order."""
    return tuple(answer_numbers(Request.of(""), Answer(text=None, calls=())))
