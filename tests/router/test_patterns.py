"""Every regular expression of `router` takes time in proportion to its text."""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

import router

ROOT = Path(router.__file__).parent
SOURCES = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
MB = 1_000_000
SECONDS = 60
"""What a linear pattern stays far below, and a quadratic one would exceed at a tenth of a megabyte."""
UNITS = [
    *"a A 0 _ - . : ; / ? & = @ # * • “ ` \\ \" ' ( { [ 、 。 字 \n".split(" "), " ", "\t", "//", "a=",
    "?key", "&key=", "http://", "data:a/", "a.", "1.", "a ", "{ ", "not ", "class ", "def a", "@a", "-1",
    "models:/", "[Errno ", ".local",
]  # fmt: skip
"""Texts that, many times over, are the start of something that some pattern waits for the end of."""
Run = Callable[[str], object]


def patterns() -> Iterator[tuple[str, Run]]:
    """Each pattern of a module or inside one of its functions, run as the module runs it."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__main__")
        source = path.read_text(encoding="utf-8")
        if "re." not in source or path.name in ("__init__.py", "litellm_plugin.py"):
            continue
        for attribute, value in vars(importlib.import_module(name)).items():
            for number, pattern in enumerate(compiled(value)):
                whole = re.search(rf"\b{attribute}\.fullmatch\(", SOURCES)
                yield f"{name}.{attribute}.{number}", running(pattern, "fullmatch" if whole else "finditer")
        for call in ast.walk(ast.parse(source)):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("re"), attr=method),
                    args=[ast.Constant(str(text)), *_],
                ) if method != "compile":
                    yield f"{name}:{call.lineno}", running(re.compile(text), method)


def compiled(value: object) -> Iterator[re.Pattern[str]]:
    """The patterns in a value of a module."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from compiled(tuple(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str | type):
        yield from (one for one in value if isinstance(one, re.Pattern))


def running(pattern: re.Pattern[str], method: str) -> Run:
    if method in ("fullmatch", "match"):
        return getattr(pattern, method)  # type: ignore[no-any-return]
    return lambda text: sum(1 for _ in pattern.finditer(text))


def seconds(run: Run, text: str) -> float:
    began = time.thread_time()
    run(text)
    return time.thread_time() - began


CASES = dict(patterns())


def test_the_patterns_are_found() -> None:
    assert {"router.forecasting.words.WORD.0", "router.errors.masking._NAMED.0"} <= CASES.keys()
    assert len(CASES) > 25


@pytest.mark.parametrize("run", CASES.values(), ids=CASES)
def test_a_pattern_is_linear_on_its_worst_text(run: Run) -> None:
    spent = {unit: seconds(run, unit * (2_000 // len(unit)) + "!") for unit in UNITS}
    worst = max(spent, key=lambda unit: spent[unit])
    for size in (MB // 10, MB, 2 * MB, 4 * MB):
        assert seconds(run, worst * (size // len(worst)) + "!") < SECONDS
