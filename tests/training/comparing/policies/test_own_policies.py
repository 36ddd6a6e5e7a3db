from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from router.errors import ConfigError
from router.records import Json, Request, prompt_key
from tests.training.logs import made_table
from training.comparing.policies import own_policies as own_policies_module
from training.comparing.policies.own_policies import own_policies, requests_of
from training.prompts.table import PromptTable

TOOLS = [{"type": "function", "function": {"name": "add"}}]
TALK = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2 + 2?"}]
REQUESTS = [
    Request.of("prompt 0", task_type="maths", tags=("a", "b")),
    Request.of("prompt 1", tools=TOOLS),
    Request.of(TALK),
]


@pytest.fixture
def table() -> PromptTable:
    plain = made_table([[1.0, 0.0]] * 3, [[1.0, 2.0]] * 3)
    keys = [prompt_key(one.messages, one.tools, one.response_format) for one in REQUESTS]
    return replace(plain, requests=REQUESTS, keys=keys)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_module(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(f"def choose(requests):\n    {body}\n", encoding="utf-8")


def write_choices(folder: Path, *lines: Json) -> str:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (folder / "choices.jsonl").write_text(text, encoding="utf-8")
    return "mine=choices.jsonl"


def chosen(option: str, table: PromptTable) -> tuple[list[int], list[str]]:
    (found,), notes = own_policies([option], table)
    assert (found.name, found.kind) == ("mine", "own policy")
    assert found.choice is not None
    return found.choice.tolist(), notes


def test_a_function_of_the_current_folder_chooses(table: PromptTable, here: Path) -> None:
    write_module(here, "policy_by_text", 'return ["b" if "prompt" in one else "a" for one in requests]')
    assert chosen("mine=policy_by_text:choose", table) == ([1, 1, 0], [])
    assert str(here) not in sys.path


def test_a_function_of_an_installed_package_is_named_by_its_entry_point(
    table: PromptTable, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(here, "installed_policy", 'return ["b"] * len(requests)')
    points = [EntryPoint("strict", "installed_policy:choose", own_policies_module.ENTRY_POINTS)]
    monkeypatch.setattr(
        own_policies_module, "entry_points", lambda group, name: points if name == "strict" else []
    )
    assert chosen("mine=strict", table) == ([1, 1, 1], [])


def test_requests_are_given_as_their_lines_in_a_log(table: PromptTable) -> None:
    first, second, third = requests_of(table)
    assert first == {
        "prompt_key": table.keys[0], "prompt": "prompt 0", "task_type": "maths", "tags": ["a", "b"],
    }  # fmt: skip
    assert second["tools"] == TOOLS
    assert third == {"prompt_key": table.keys[2], "messages": TALK}


def test_a_function_may_change_what_it_gets(table: PromptTable, here: Path) -> None:
    write_module(here, "policy_that_changes", 'requests[2]["messages"].clear(); return ["a"] * len(requests)')
    assert chosen("mine=policy_that_changes:choose", table)[0] == [0, 0, 0]
    assert table.requests[2].messages == tuple(TALK)


def test_what_is_no_model_of_the_comparison_is_no_choice_and_told(table: PromptTable, here: Path) -> None:
    write_module(here, "policy_of_unknowns", 'return ["a", "gpt-9", None]')
    choice, notes = chosen("mine=policy_of_unknowns:choose", table)
    assert choice == [0, -1, -1]
    assert notes == [
        f"policy 'mine': prompts given to 'gpt-9', which is not compared: 1 ({table.keys[1]})",
        f"policy 'mine': prompts without a choice: 1 ({table.keys[2]})",
    ]


def test_a_file_names_prompts_by_key_text_or_messages(table: PromptTable, here: Path) -> None:
    option = write_choices(
        here,
        {"prompt": "prompt 0", "model": "b"},
        {"prompt_key": table.keys[1], "model": "a"},
        {"messages": TALK, "model": "b"},
    )
    assert chosen(option, table) == ([1, 0, 1], [])


def test_the_same_text_with_tools_is_another_prompt(table: PromptTable, here: Path) -> None:
    option = write_choices(
        here, {"prompt": "prompt 1", "model": "a"}, {"prompt": "prompt 1", "tools": TOOLS, "model": "b"}
    )
    choice, notes = chosen(option, table)
    assert choice == [-1, 1, -1]
    assert "lines about prompts that are not compared: 1 (choices.jsonl, line 1)" in notes[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("{oops", "not valid JSON", id="no JSON"),
        pytest.param([1], "no JSON object", id="a list"),
        pytest.param({"prompt": "prompt 1"}, "no 'model' in it", id="no model"),
        pytest.param({"model": "a"}, "no 'prompt_key', 'prompt' or 'messages' in it", id="no prompt"),
        pytest.param({"model": "a", "call_id": "c1"}, "a call_id names a call", id="a call's name"),
        pytest.param({"model": "a", "prompt": 3}, "line 2: prompt must be a text, got int", id="no text"),
    ],
)
def test_a_line_that_can_t_be_read_is_told_with_its_number(
    line: Json, said: str, table: PromptTable, here: Path
) -> None:
    choice, notes = chosen(write_choices(here, {"prompt": "prompt 0", "model": "b"}, line), table)
    assert choice == [1, -1, -1]
    (note,) = (one for one in notes if "without a choice" not in one)
    assert said in note
    assert "choices.jsonl, line 2" in note


def test_of_two_lines_for_a_prompt_the_first_counts(table: PromptTable, here: Path) -> None:
    lines = [{"prompt_key": key, "model": "a"} for key in table.keys]
    again = [{"prompt_key": table.keys[0], "model": name} for name in ("a", "b")]
    choice, notes = chosen(write_choices(here, *lines, *again), table)
    assert choice == [0, 0, 0]
    assert notes == [
        "policy 'mine': lines that an earlier line for the same prompt contradicts, not used: 1 "
        "(choices.jsonl, line 5)"
    ]


def test_many_of_a_kind_are_counted_and_only_the_first_are_placed(table: PromptTable, here: Path) -> None:
    option = write_choices(here, {"prompt": "prompt 0", "model": "b"}, *["{"] * 5)
    note = next(note for note in chosen(option, table)[1] if "lines" in note)
    assert "lines that can't be read, not valid JSON: 5 (choices.jsonl, line 2" in note
    assert note.endswith("line 2, choices.jsonl, line 3, choices.jsonl, line 4, ...)")


def test_of_many_kinds_the_rest_is_counted(table: PromptTable, here: Path) -> None:
    key = {"prompt_key": table.keys[0]}
    whole = replace(table.rows([0] * 15), keys=[f"{row:032x}" for row in range(15)])  # type: ignore[arg-type]
    lines = [{"prompt_key": name, "model": f"m{name[-1]}"} for name in whole.keys[1:]]
    option = write_choices(here, {**key, "prompt_key": whole.keys[0], "model": "a"}, *lines)
    assert chosen(option, whole)[1][-1] == "policy 'mine': others: 4"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        pytest.param("mine", "write NAME=module:function", id="no source"),
        pytest.param("=mod:f", "write NAME=module:function", id="no name"),
        pytest.param("mine=absent.jsonl", "absent.jsonl can't be read: No such file", id="no file"),
        pytest.param("mine=absent", "absent can't be read", id="neither"),
        pytest.param("mine=no_such_module_here:f", "can't be imported", id="no module"),
        pytest.param("mine=json:absent", "has no such function", id="no function"),
        pytest.param("mine=json:loads", "raised TypeError", id="raises"),
        pytest.param("oracle=json:loads", "the name 'oracle' is taken", id="a baseline's name"),
        pytest.param("always a=json:loads", "the name 'always a' is taken", id="a single model's name"),
        pytest.param("theirs=json:loads", "the name 'theirs' is taken", id="another policy's name"),
    ],
)
def test_an_option_that_names_no_policy_is_refused(option: str, said: str, table: PromptTable) -> None:
    with pytest.raises(ConfigError, match=said):
        own_policies([option], table, taken=["theirs"])


def test_two_policies_of_one_name_are_refused(table: PromptTable, here: Path) -> None:
    option = write_choices(here, {"prompt": "prompt 0", "model": "b"})
    with pytest.raises(ConfigError, match="'mine' is taken"):
        own_policies([option, option], table)


def test_a_function_that_forgets_requests_is_refused(table: PromptTable, here: Path) -> None:
    write_module(here, "policy_that_forgets", 'return ["a"]')
    with pytest.raises(ConfigError, match="returned 1 names for 3 requests"):
        own_policies(["mine=policy_that_forgets:choose"], table)


def test_a_policy_that_chooses_for_no_prompt_is_refused_with_the_reasons(
    table: PromptTable, here: Path
) -> None:
    option = write_choices(here, {"prompt": "another", "model": "a"}, "{")
    with pytest.raises(
        ConfigError,
        match=r"none of the 3 prompts .* prompts that are not compared: 1 .* models compared are a",
    ):
        own_policies([option], table)
