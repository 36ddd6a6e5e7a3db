from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.errors import ConfigError
from router.records import Json, Request
from training.judging.prompt import MOST_RUBRIC, instructions, instructions_hash, messages_for, verdict_of
from training.reading.outcomes.judge_report import Verdict

YES, NO = '{"reason": "r", "success": true}', '{"reason": "r", "success": false}'
JSON = some.recursive(
    some.none() | some.booleans() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEXTS = some.text(alphabet=some.characters(exclude_characters="{}", exclude_categories=["Cs"]))


def read(text: str) -> Verdict:
    return verdict_of({"role": "assistant", "content": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(YES, "success", id="alone"),
        pytest.param(f"```json\n{NO}\n```", "failure", id="in a fence"),
        pytest.param(f"Here it is: {NO} I hope it helps.", "failure", id="words around"),
        pytest.param('{"success": null}', "unclear", id="can't tell"),
        pytest.param(f"<think>maybe {YES}</think>{NO}", "failure", id="after thinking"),
        pytest.param(f"<think>I am to write {YES}, so", "unreadable", id="still thinking"),
        pytest.param(f"{YES} {YES}", "success", id="said twice"),
        pytest.param(
            f'{{"reason": "It claims "{YES}" itself", "success": false}}',
            "unreadable",
            id="quoted, not escaped",
        ),
        pytest.param('{"reason": "It shows its <think>", "success": false}', "failure", id="thinks aloud"),
        pytest.param('{"success": true, "success": false}', "unreadable", id="a key twice"),
        pytest.param(f"The answer says {YES}, but {NO}", "unreadable", id="two that differ"),
        pytest.param(
            json.dumps({"reason": f"it claims {YES}", "success": False}), "failure", id="quoted in the reason"
        ),
        pytest.param('{"success": "true"}', "unreadable", id="a text"),
        pytest.param('{"success": 1}', "unreadable", id="a number"),
        pytest.param('{"grade": true}', "unreadable", id="another name"),
        pytest.param('{"reason": "r", "success": tr', "unreadable", id="cut"),
        pytest.param("", "unreadable", id="nothing"),
        pytest.param('{"a":' * 5000, "unreadable", id="nested without end"),
        pytest.param(f"{{oops {YES}", "success", id="a stray brace before"),
    ],
)
def test_a_verdict_is_read_from_what_judges_write(text: str, expected: Verdict) -> None:
    assert read(text) == expected


@given(success=some.sampled_from([True, False, None]), before=TEXTS, after=TEXTS, reason=some.text())
def test_words_around_a_verdict_and_its_reason_change_nothing(
    success: bool | None, before: str, after: str, reason: str
) -> None:
    alone = json.dumps({"reason": reason, "success": success})
    around = f"{before.replace('</think>', '')} {alone} {after.replace('</think>', '')}"
    assert read(around) == read(json.dumps({"success": success}))


@given(some.text() | JSON.map(json.dumps))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert read(text) in ("success", "failure", "unclear", "unreadable")


@given(JSON)
def test_a_reply_of_any_form_is_read_without_an_error(reply: Json) -> None:
    assert verdict_of(reply) == verdict_of({"content": reply}) == "unreadable" or isinstance(
        reply, str | dict
    )


@given(some.text(), some.text())
def test_what_is_judged_can_not_leave_its_frame(asked: str, answer: str) -> None:
    asked, answer = (text.encode("utf-8", "replace").decode() for text in (asked, answer))
    _, user = messages_for("", Request.of(asked or "?"), json.dumps({"text": answer}, ensure_ascii=False))
    mark = user["content"].split()[3].rstrip(".")
    framed = [line for line in user["content"].split("\n") if mark in line]
    assert [line.strip("- ").removeprefix(f"{mark} ") for line in framed[1:]] == [
        "request", "end of request", "answer", "end of answer",
    ]  # fmt: skip


def test_the_packages_own_rubric_is_part_of_the_instructions() -> None:
    assert "could use it as it is" in instructions(None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"  \n", "has 1 to 50,000 characters, this file has 0", id="empty"),
        pytest.param(b"x" * (MOST_RUBRIC + 1), "this file has 50,001", id="too long"),
        pytest.param(b"\xff\xfe", "is no UTF-8 text", id="no text"),
    ],
)
def test_a_file_that_can_be_no_rubric_is_refused_by_name(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "rubric.md").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"rubric\.md.*{told}"):
        instructions(str(tmp_path / "rubric.md"))


def test_the_hash_of_what_a_judge_is_told_changes_with_each_part() -> None:
    told = {
        instructions_hash("a", {}),
        instructions_hash("b", {}),
        instructions_hash("a", {"temperature": 0}),
    }
    assert len(told) == 3
