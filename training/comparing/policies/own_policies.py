"""A user's own policy: a Python function that names models, or a file of its choices."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import numpy as np
import orjson

from router.errors import ConfigError, RequestError
from router.records import IntArray, Json, Request, prompt_key
from router.settings.functions import load_function
from training.comparing.evaluated import Contender
from training.comparing.policies.baselines import NAMES
from training.prompts.table import PromptTable
from training.statistics.policy_curves import NO_CHOICE

ENTRY_POINTS = "pointsman.policies"
"""Each entry point of this group names a policy as `module:function`.

The function gets what `requests_of` returns, and returns a model name or None for each request in order.
"""
FILE_ENDINGS = (".jsonl", ".ndjson", ".json")
SHOWN = 3
"""Places to name for each kind of problem."""
MOST_KINDS = 10


@dataclass(frozen=True, slots=True)
class _Problems:
    """Choices of a policy that can't be used, by kind of problem: how many, and the first places."""

    count: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, where: str) -> None:
        self.count[kind] += 1
        places = self.places.setdefault(kind, [])
        if len(places) < SHOWN:
            places.append(where)

    def sentences(self, of: str) -> list[str]:
        """A sentence for each of the most frequent kinds, and one for all others."""
        frequent = self.count.most_common(MOST_KINDS)
        sentences = [
            f"{of}: {kind}: {count:,} ({', '.join(self.places[kind])}{', ...' if count > SHOWN else ''})"
            for kind, count in frequent
        ]
        rest = self.count.total() - sum(count for _, count in frequent)
        return [*sentences, f"{of}: others: {rest:,}"] if rest else sentences


def own_policies(
    options: Sequence[str], table: PromptTable, taken: Collection[str] = ()
) -> tuple[list[Contender], list[str]]:
    """The policies that a user names, and a sentence for each kind of choice that can't be used.

    Args:
        options: each `NAME=module:function`, `NAME=choices.jsonl`, or `NAME=policy` with the name of an entry
            point of the group `pointsman.policies`.
        table: the compared prompts; a model without a column in it is no choice.
        taken: names of other policies, besides the baselines and the single models.

    Raises:
        ConfigError: an option has another form, a name is taken, a file or a function can't be used, or a
            policy chooses for no prompt.
    """
    policies: dict[str, Contender] = {}
    notes: list[str] = []
    for option in options:
        name, source = _name_and_source(option)
        if name in {*policies, *taken, *NAMES, *(f"always {model}" for model in table.models)}:
            raise ConfigError(f"--policy {option}: the name {name!r} is taken: choose another")
        problems = _Problems()
        function = _function_of(source)
        if function is None:
            names = _from_file(source, table, problems)
        else:
            names = _from_function(name, function, table)
        choice = _columns(names, table, problems)
        notes += problems.sentences(f"policy {name!r}")
        if not (choice >= 0).any():
            reasons = "; ".join(problems.sentences(source)) or "it names no model"
            raise ConfigError(
                f"--policy {option}: it chooses for none of the {len(table):,} prompts compared: {reasons}; "
                f"the models compared are {', '.join(table.models)}"
            )
        policies[name] = Contender(name=name, kind="own policy", choice=choice)
    return list(policies.values()), notes


def requests_of(table: PromptTable) -> list[dict[str, Json]]:
    """The requests as a user's function gets them.

    Each has `prompt_key`, and either `prompt` (if it is one user message) or `messages`; `tools`,
    `response_format`, `task_type` and `tags` only if it has them. The function may change them.
    """
    return [_plain(key, request) for key, request in zip(table.keys, table.requests, strict=True)]


def _plain(key: str, request: Request) -> dict[str, Json]:
    optional = {
        "tools": request.tools,
        "response_format": request.response_format,
        "task_type": request.task_type,
        "tags": list(request.tags),
    }
    first = request.messages[0]
    alone = len(request.messages) == 1 and set(first) == {"role", "content"} and first["role"] == "user"
    text = {"prompt": first["content"]} if alone and isinstance(first["content"], str) else None
    return {
        "prompt_key": key,
        **(text or {"messages": [dict(message) for message in request.messages]}),
        **{name: value for name, value in optional.items() if value},
    }


def _name_and_source(option: str) -> tuple[str, str]:
    name, equals, source = option.partition("=")
    if not (name.strip() and equals and source.strip()):
        raise ConfigError(f"--policy {option!r}: write NAME=module:function or NAME=choices.jsonl")
    return name.strip(), source.strip()


def _function_of(source: str) -> str | None:
    """The `module:function`, which an entry point may name; None for a file of choices."""
    if source.endswith(FILE_ENDINGS) or Path(source).is_file():
        return None
    if ":" in source:
        return source
    point = next(iter(entry_points(group=ENTRY_POINTS, name=source)), None)
    return point.value if point else None


def _from_function(name: str, source: str, table: PromptTable) -> list[Json]:
    """The names that a function returns for the prompts.

    Raises:
        ConfigError: it can't be imported, raises, or does not return one name for each request.
    """
    with _current_folder_importable():
        choose = cast("Callable[[list[dict[str, Json]]], Sequence[str | None]]", load_function(source))
        try:
            names = list(choose(requests_of(table)))
        except Exception as error:  # the user's own function may raise anything
            raise ConfigError(
                f"policy {name!r}: {source} raised {type(error).__name__}: {error}; it gets a list of "
                "requests and returns a list with a model name, or None, for each"
            ) from error
    if len(names) != len(table):
        raise ConfigError(
            f"policy {name!r}: {source} returned {len(names):,} names for {len(table):,} requests"
        )
    return names


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Make modules in the current folder importable, after all others."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _from_file(source: str, table: PromptTable, problems: _Problems) -> list[Json]:
    """The names in a file's lines for the prompts; None for a prompt without a line.

    Raises:
        ConfigError: the file can't be read.
    """
    path = Path(source)
    reader = _LineReader(row_of={key: row for row, key in enumerate(table.keys)}, problems=problems)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    reader.read(line, f"{path}, line {number}")
    except OSError as error:
        raise ConfigError(f"--policy: {path} can't be read: {error.strerror or error}") from error
    return [reader.names.get(row) for row in range(len(table))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LineReader:
    """Reads the lines of a file: collects the name for each row, and the problems."""

    row_of: Mapping[str, int]
    problems: _Problems
    names: dict[int, Json] = field(default_factory=dict)

    def read(self, line: bytes, where: str) -> None:
        try:
            key, model = _choice_of(line)
        except RequestError as error:
            self.problems.add("lines whose prompt can't be read", f"{where}: {error}")
            return
        except ValueError as error:
            self.problems.add(f"lines that can't be read, {error}", where)
            return
        row = self.row_of.get(key)
        if row is None:
            self.problems.add("lines about prompts that are not compared", where)
        elif self.names.setdefault(row, model) != model:
            self.problems.add("lines that an earlier line for the same prompt contradicts, not used", where)


def _choice_of(line: bytes) -> tuple[str, Json]:
    """The prompt key and the model of one line.

    Raises:
        ValueError: it is no JSON object, or lacks one of the two.
        RequestError: its prompt has the wrong form.
    """
    try:
        value = orjson.loads(line)
    except ValueError:
        raise ValueError("not valid JSON") from None
    if not isinstance(value, Mapping):
        raise ValueError("no JSON object")
    if "model" not in value:
        raise ValueError("no 'model' in it")
    if isinstance(value.get("prompt_key"), str):
        return value["prompt_key"], value["model"]
    if value.get("prompt") is None and value.get("messages") is None:
        known = "a call_id names a call, and prompts are compared: " if "call_id" in value else ""
        raise ValueError(f"{known}no 'prompt_key', 'prompt' or 'messages' in it")
    request = Request.from_json(value)
    return prompt_key(request.messages, request.tools, request.response_format), value["model"]


def _columns(names: Sequence[Json], table: PromptTable, problems: _Problems) -> IntArray:
    """The column that each name stands for; -1 for None and for anything that names no column."""
    column = {model: number for number, model in enumerate(table.models)}
    choice = np.full(len(names), NO_CHOICE, dtype=np.int64)
    for row, name in enumerate(names):
        if isinstance(name, str) and name in column:
            choice[row] = column[name]
        elif name is None:
            problems.add("prompts without a choice", table.keys[row])
        else:
            problems.add(f"prompts given to {str(name)[:80]!r}, which is not compared", table.keys[row])
    return choice
