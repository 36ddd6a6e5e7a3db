from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.numbers import bounds, decimal, dollars, p_value_text, relative, signed, unit_of, usd_per_thousand
from training.statistics.intervals import UNKNOWN, Interval

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for package in ("router", "training")
    for suffix in ("py", "j2")
    for path in sorted((ROOT / package).rglob(f"*.{suffix}"))
    if path != ROOT / "router" / "numbers.py"
]
BY_HAND = re.compile(r"[+,]*\.\d+[%efg]|[+,]*%|[+,]+[efg]?")
COUNTED = re.compile(
    r" (?:(?:known|independent|earlier|other|more) )?"
    r"(?:calls|prompts|rows|requests|outcomes|replies|successes|failures|judgements|groups|files?\(s\))\b"
)
WRITTEN = {"rate", "decimal", "dollars", "usd_per_thousand", "significant", "signed_points", "relative"}
DATA = {("training/learning/model_card.py", ".4g"), ("training/comparing/report/record.py", ".4g")}
"""Formats of what a program reads."""


def between(low: float, high: float) -> Interval:
    return Interval(value=low, low=low, high=high, above=0.5)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        pytest.param(0.00113, "$1.13", id="dollars"),
        pytest.param(0.00000042, "$0.00042", id="fractions of a cent"),
        pytest.param(0.0, "$0.00", id="free"),
        pytest.param(2.5, "$2,500", id="thousands"),
        pytest.param(math.nan, "unknown", id="unknown"),
        pytest.param(math.inf, "unknown", id="without end"),
    ],
)
def test_costs_are_told_per_thousand_calls(usd: float, text: str) -> None:
    assert usd_per_thousand(usd) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        pytest.param(1.13, "+$1.13", id="more"),
        pytest.param(-2.38, "-$2.38", id="less"),
        pytest.param(-0.042, "-$0.042", id="little less"),
        pytest.param(0.0, "$0.00", id="the same"),
    ],
)
def test_a_change_of_cost_has_a_sign(usd: float, text: str) -> None:
    assert dollars(usd, signed=True) == text


@pytest.mark.parametrize(
    ("ratio", "unit"),
    [(1.0, ""), (30.0, ""), (101.0, "cents"), (60.0, "cents"), (990.0, "thousandths of a dollar"),
     (1e6, "millionths of a dollar"), (0.0, ""), (math.nan, "")],
)  # fmt: skip
def test_costs_that_are_not_in_dollars_are_known_by_their_size(ratio: float, unit: str) -> None:
    assert unit_of(ratio) == unit


def test_a_change_that_rounds_to_nothing_has_no_sign() -> None:
    assert [signed(value) for value in (6.14, -0.04, 0.0, -1200.0)] == ["+6.1", "0.0", "0.0", "-1,200.0"]


def test_a_ratio_without_an_end_is_never_reached() -> None:
    assert [relative(ratio) for ratio in (0.38, math.inf, math.nan)] == ["38 %", "never", "unknown"]
    assert [decimal(value, 2) for value in (0.714, math.inf, math.nan)] == ["0.71", "never", "unknown"]


def test_a_ratio_of_ten_or_more_is_a_factor() -> None:
    assert [relative(ratio) for ratio in (9.99, 10, 1234)] == ["999 %", "10x", "1,234x"]


def test_a_p_value_is_as_precise_as_it_is_small() -> None:
    assert [p_value_text(p) for p in (0.0004, 0.0124, 0.31, 1.0, math.nan)] == [
        "p < 0.001",
        "p 0.012",
        "p 0.31",
        "p 1.00",
        "",
    ]


@pytest.mark.parametrize(
    ("interval", "unit", "text"),
    [
        pytest.param(UNKNOWN, "ratio", "", id="unknown"),
        pytest.param(between(-0.009, 0.011), "points", "[-0.9, +1.1]", id="points"),
        pytest.param(between(0.3, math.inf), "ratio", "[30, no limit]", id="no limit"),
        pytest.param(
            Interval(value=14, low=9.2, high=math.inf, above=1), "ratio", "[9.2, no limit]", id="factor"
        ),
        pytest.param(between(0.7, 0.9), "rate", "[70.0, 90.0]", id="rate"),
        pytest.param(between(0.001, 0.003), "usd", "[$1.00, $3.00]", id="usd"),
        pytest.param(between(0.68, 0.74), "number", "[0.68, 0.74]", id="number"),
    ],
)
def test_bounds_are_told_in_the_unit_of_the_value(interval: Interval, unit: str, text: str) -> None:
    assert bounds(interval, unit) == text


def formats_by_hand(path: Path) -> Iterator[str]:
    """What of a file writes a number for people by another way than `router.numbers`."""
    text = path.read_text(encoding="utf-8")
    yield from re.findall(r"\{:(?!,\})[^{}]*[%efg]\}|%\.\d[efg]", text)
    if path.suffix != ".py":
        return
    tree = ast.parse(text)
    rounded = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "float"
        for node in ast.walk(call)
    }
    for joined in ast.walk(tree):
        if not isinstance(joined, ast.JoinedStr) or id(joined) in rounded:
            continue
        for before, part, after in zip(
            [None, *joined.values], joined.values, [*joined.values[1:], None], strict=False
        ):
            if isinstance(part, ast.FormattedValue):
                yield from _of_part(part, before, after, str(path.relative_to(ROOT)))


def _of_part(
    part: ast.FormattedValue, before: ast.expr | None, after: ast.expr | None, file: str
) -> Iterator[str]:
    spec = "" if part.format_spec is None else ast.unparse(part.format_spec)[2:-1]
    text = ast.unparse(part.value)
    if spec not in ("", ",") and BY_HAND.fullmatch(spec) and (file, spec) not in DATA:
        yield f"{text}:{spec}"
    if isinstance(before, ast.Constant) and str(before.value).endswith("$"):
        yield f"${text}"
    follows = isinstance(after, ast.Constant) and COUNTED.match(str(after.value))
    counted = not spec and (follows or text.rpartition(".")[2] == "count")
    if counted and not (text.isupper() or "join(" in text or text.partition("(")[0] in WRITTEN):
        yield f"{text} without a comma"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_for_people_is_written_by_one_module(path: Path) -> None:
    assert not list(formats_by_hand(path))
