from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import pytest

from router.forecasting.answer_numbers import Answer, answer_numbers
from router.records import Json, Request

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def numbers(
    text: str | None = "",
    prompt: str = "",
    calls: Sequence[tuple[str | None, Json]] = (),
    tools: Json = None,
    **facts: Json,
) -> Mapping[str, float]:
    return answer_numbers(Request.of(prompt, tools=tools), Answer(text=text, calls=calls), **facts)


@pytest.mark.parametrize(
    ("text", "stated", "false"),
    [
        ("2 + 3 = 5", 1, 0),
        ("2 + 3 = 6", 1, 1),
        ("12 x 3 = $36.00 and 36/5 = 7.2", 2, 0),
        ("1,000 - 1 = 999; 10 / 3 = 3.33; 10 / 3 = 3.4", 3, 1),
        (r"4 \times 5 = 21", 1, 1),
        ("2 hours * 60 minutes = 120", 0, 0),
        ("1 / 0 = 5", 0, 0),
        ("x = 5, a-1 = b", 0, 0),
    ],
    ids=["sum", "false sum", "money", "rounded", "TeX", "units between", "by 0", "none"],
)
def test_stated_arithmetic_is_checked(text: str, stated: int, false: int) -> None:
    given = numbers(text)
    assert given["equations"] == pytest.approx(math.log1p(stated))
    assert given["false equations"] == pytest.approx(math.log1p(false))


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("hedges", {"text": "Perhaps it is 5, I am not sure."}, {"text": "It is 5."}),
        ("refusals", {"text": "I'm sorry, I cannot help."}, {"text": "Here it is."}),
        ("json", {"text": '```json\n{"answer": 5}\n```'}, {"text": "answer: 5"}),
        ("json broken", {"text": '{"answer": 5'}, {"text": '{"answer": 5}'}),
        ("repeated lines", {"text": "a\na\na"}, {"text": "a\nb\na"}),
        ("distinct trigrams", {"text": "a b c d e f g"}, {"text": "a b c a b c a b c"}),
        ("cut", {"text": "x", "finish_reason": "length"}, {"text": "x", "finish_reason": "stop"}),
        ("form broken", {"text": "x", "keeps_form": False}, {"text": "x", "keeps_form": True}),
        ("form kept", {"text": "x", "keeps_form": True}, {"text": "x"}),
        ("output tokens", {"text": "x", "output_tokens": 9.0}, {"text": "x", "output_tokens": 5.0}),
        ("numbers used", {"text": "5", "prompt": "is it 5?"}, {"text": "6", "prompt": "is it 5?"}),
        ("no tool call", {"tools": [TOOL]}, {"tools": [TOOL], "calls": [("f", "{}")]}),
        (
            "arguments in the prompt",
            {"prompt": "weather in Oslo", "calls": [("f", '{"city": "Oslo"}')]},
            {"prompt": "weather in Oslo", "calls": [("f", '{"city": "Bergen"}')]},
        ),
        ("repeated calls", {"calls": [("f", "{}"), ("f", "{}")]}, {"calls": [("f", "{}"), ("g", "{}")]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_is_higher_where_its_name_says_so(
    name: str, more: dict[str, Json], less: dict[str, Json]
) -> None:
    assert numbers(**more)[name] > numbers(**less)[name]


LONG = 400_000
HUGE = {
    "digits": "1" * LONG,
    "equations": "1+1=" * LONG,
    "signs": "- " * LONG,
    "brackets": "[" * LONG,
    "fences": "```json\n" * (LONG // 8),
    "spaces": " " * LONG,
    "hedges": "assum" * LONG,
    "surrogates": "\ud800" * LONG,
    "lines": "\n" * LONG,
    "minus digits": "-1,1.1" * LONG,
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_a_huge_answer_to_a_huge_prompt_costs_little_and_gives_finite_numbers(text: str) -> None:
    began = time.process_time()
    given = numbers(text, prompt=text, calls=[("f", text), ("f", {"a": [text] * 9})])
    assert time.process_time() - began < 5
    assert all(map(math.isfinite, given.values()))


def test_every_answer_has_the_same_numbers() -> None:
    deep: Json = []
    for _ in range(5_000):
        deep = [deep]
    odd = [numbers(), numbers(None), numbers("x", calls=[(None, None), ("f", deep), ("g", 3)]), numbers("{}")]
    assert len({tuple(one) for one in odd}) == 1
