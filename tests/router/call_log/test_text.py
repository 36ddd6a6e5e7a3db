from __future__ import annotations

import json
import math
import sys
import time
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from router.call_log.text import LONGEST_MEDIA, LONGEST_REDACTED, KeptText, Redact, TextRule, take_snapshot
from router.errors import ConfigError
from router.records import Json, prompt_key
from router.settings.functions import load_function

SECRET = "Ann Marlow, 0171-555"
IMAGE = "data:image/png;base64,iVBORw0KGgo="
LARGE_IMAGE = f"data:image/png;base64,{'A' * LONGEST_MEDIA}"
TOOL = {
    "type": "function",
    "function": {
        "name": "refund",
        "description": "Pays back.",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    },
}
FULL = TextRule()
HASH = TextRule(mode="hash")


def redacted(redact: Redact = lambda text: "*") -> TextRule:
    return TextRule(mode="redacted", redact=redact)


def user(content: Json) -> list[Json]:
    return [{"role": "user", "content": content}]


def kept(rule: TextRule, messages: Json, tools: Json = None, response_format: Json = None) -> KeptText:
    return rule.keep(take_snapshot((messages, tools, response_format)))


def kept_messages(rule: TextRule, messages: Json) -> Json:
    text = kept(rule, messages).messages
    assert text is not None
    return json.loads(text)


# Every legal shape of a message, each text of which holds a secret.
secrets = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(
    lambda text: f"{text}{SECRET}{text}"
)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, secrets),
    st.builds(lambda text: {"type": "image_url", "image_url": {"url": f"{IMAGE}{text}"}}, secrets),
    st.builds(lambda text: {"type": "image_url", "image_url": {"url": f"https://x/{text}"}}, secrets),
    st.builds(lambda text: {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}}, secrets),
    st.builds(lambda text: {"type": "file", "file": {"file_data": text, "filename": text}}, secrets),
    st.builds(lambda text: {"type": "tool_result", "tool_use_id": text, "content": [{"x": text}]}, secrets),
)
contents = st.none() | st.just("") | secrets | st.lists(parts, max_size=3)
calls = st.builds(
    lambda name, arguments: {
        "id": name, "type": "function", "function": {"name": name, "arguments": json.dumps({"to": arguments})}
    },
    secrets, secrets,
)  # fmt: skip
messages = st.one_of(
    st.builds(lambda role, content: {"role": role, "content": content},
              st.sampled_from(["system", "developer", "user", "assistant"]), contents),
    st.builds(lambda content, made: {"role": "assistant", "content": content, "tool_calls": made},
              contents, st.lists(calls, max_size=2)),
    st.builds(lambda name, content: {"role": "tool", "tool_call_id": name, "name": name, "content": content},
              secrets, contents),
    st.builds(lambda name, refusal: {"role": "assistant", "refusal": refusal, name: name}, secrets, secrets),
)  # fmt: skip
conversations = st.lists(messages, min_size=1, max_size=4)
tool_lists = st.none() | st.lists(
    st.builds(
        lambda name, text: {
            "type": "function",
            "function": {
                "name": name,
                "description": text,
                "parameters": {
                    "type": "object",
                    "properties": {name: {"type": ["string", "null"], "enum": [text]}},
                },
            },
        },
        secrets, secrets,
    ),
    max_size=2,
)  # fmt: skip


@given(conversations, tool_lists)
def test_full_text_is_kept_as_it_was(messages: Json, tools: Json) -> None:
    found = kept(FULL, messages, tools)
    assert found.messages is not None
    assert json.loads(found.messages) == messages
    assert json.loads(found.tools or "null") == tools
    assert not found.cut


@given(conversations, tool_lists)
def test_a_hash_keeps_no_text(messages: Json, tools: Json) -> None:
    assert kept(HASH, messages, tools) == KeptText(prompt_key=prompt_key(messages, tools))


@given(conversations, tool_lists)
def test_redaction_reaches_every_text(messages: Json, tools: Json) -> None:
    found = kept(redacted(), messages, tools, {"type": "json_schema", "json_schema": {"name": SECRET}})
    assert found.redaction_error is None
    assert SECRET not in repr(found)
    assert "iVBOR" not in repr(found)


@given(conversations)
def test_redaction_leaves_the_form_of_the_messages(messages: Json) -> None:
    left = kept_messages(redacted(), messages)
    assert [one["role"] for one in left] == [one["role"] for one in messages]
    assert [type(one.get("content")) for one in left] == [type(one.get("content")) for one in messages]


@given(conversations, tool_lists, st.sampled_from([FULL, HASH, redacted()]))
def test_the_key_is_that_of_the_request_as_it_was(messages: Json, tools: Json, rule: TextRule) -> None:
    assert kept(rule, messages, tools).prompt_key == prompt_key(messages, tools)


@given(conversations, st.sampled_from(["raises", "returns bytes", "returns nothing", "exits"]))
def test_where_redaction_fails_no_text_is_kept(messages: Json, how: str) -> None:
    def fail(text: str) -> str:
        if how == "raises":
            raise KeyError(text)
        if how == "exits":
            sys.exit(text)
        returned: Any = text.encode() if how == "returns bytes" else None
        return returned  # type: ignore[no-any-return]

    found = kept(redacted(fail), [*messages, *user(SECRET)])
    assert (found.messages, found.tools) == (None, None)
    assert found.redaction_error
    assert SECRET not in repr(found)


def test_redaction_that_changes_nothing_keeps_everything() -> None:
    messages = [*user([{"type": "text", "text": "hi", "index": 3, "cached": True}]), {"role": "assistant"}]
    assert kept_messages(redacted(lambda text: text), messages) == messages


def test_words_of_the_protocol_are_not_redacted_and_the_same_word_elsewhere_is() -> None:
    left = kept_messages(
        redacted(), [{"role": "user", "content": "user"}, {"role": "Ann", "content": "text"}]
    )
    assert left == [{"role": "user", "content": "*"}, {"role": "*", "content": "*"}]


def test_names_that_are_no_part_of_the_protocol_are_redacted() -> None:
    message = {"role": "user", "content": [{"type": "tool_use", "input": {"ann@x.org": 1}}]}
    left = kept_messages(redacted(lambda text: text.replace("ann@x.org", "[mail]")), [message])
    assert left[0]["content"][0]["input"] == {"[mail]": 1}


def test_a_number_is_redacted_where_the_function_changes_its_digits() -> None:
    message = {"role": "user", "content": [{"type": "tool_use", "input": {"phone": 1715550, "n": 2}}]}
    left = kept_messages(redacted(lambda text: text.replace("1715550", "[phone]")), [message])
    assert left[0]["content"][0]["input"] == {"phone": "[phone]", "n": 2}


def test_empty_text_is_not_given_to_the_redaction_function() -> None:
    assert kept_messages(redacted(lambda text: text[0]), user("")) == user("")


def test_a_redacted_prompt_holds_no_media_and_says_so() -> None:
    found = kept(redacted(lambda text: text), user([{"type": "image_url", "image_url": {"url": IMAGE}}]))
    assert found.cut
    assert "iVBOR" not in repr(found)


def test_a_large_image_is_replaced_by_what_tells_it_from_others() -> None:
    ours, other = (
        kept(FULL, user([{"type": "image_url", "image_url": {"url": f"{LARGE_IMAGE}{tail}"}}]))
        for tail in ("x", "y")
    )
    assert ours.cut
    assert len(ours.messages or "") < 300
    assert ours.messages != other.messages


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "input_audio", "input_audio": {"data": "A" * (LONGEST_MEDIA + 1)}}, id="audio"),
        pytest.param({"type": "file", "file": {"file_data": "A" * (LONGEST_MEDIA + 1)}}, id="file"),
        pytest.param({"type": "image_url", "image_url": LARGE_IMAGE}, id="image without its object"),
    ],
)
def test_large_media_of_every_kind_is_left_out(part: Json) -> None:
    found = kept(FULL, user([part, {"type": "text", "text": "what is it?"}]))
    assert found.cut
    assert "what is it?" in (found.messages or "")
    assert len(found.messages or "") < 300


def test_a_long_text_is_no_media() -> None:
    found = kept(FULL, tuple(user("data: " + "word " * LONGEST_MEDIA)))
    assert not found.cut
    assert len(found.messages or "") > LONGEST_MEDIA


def test_a_change_after_the_snapshot_is_not_seen() -> None:
    messages = user([{"type": "text", "text": "before"}])
    snapshot = take_snapshot((messages, None, None))
    messages[0]["content"][0]["text"] = "after"
    messages.append({"role": "assistant"})
    assert json.loads(FULL.keep(snapshot).messages or "") == user([{"type": "text", "text": "before"}])


class Answer(BaseModel):
    role: str = "assistant"
    content: str = "hi"
    audio: str | None = None


@pytest.mark.parametrize(
    ("given_messages", "logged"),
    [
        pytest.param(
            (MappingProxyType({"role": "user", "content": "hi"}),), user("hi"), id="read-only object"
        ),
        pytest.param([OrderedDict(role="user", content="hi")], user("hi"), id="ordered object"),
        pytest.param([Answer()], [{"role": "assistant", "content": "hi"}], id="pydantic model"),
    ],
)
def test_messages_of_other_libraries_are_logged_as_json(given_messages: Json, logged: Json) -> None:
    found = kept(FULL, given_messages)
    assert json.loads(found.messages or "") == logged
    assert found.prompt_key == prompt_key(logged)
    assert not found.cut


def test_a_response_format_given_as_a_class_is_logged_as_its_schema() -> None:
    found = kept(FULL, user("hi"), None, Answer)
    assert (
        json.loads(found.response_format or "")["json_schema"]["properties"]["role"]["default"] == "assistant"
    )


def nested(depth: int) -> Json:
    value: Json = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b"bytes", id="bytes"),
        pytest.param({1, 2}, id="set"),
        pytest.param(math.nan, id="NaN"),
        pytest.param(10**5000, id="number of 5000 digits"),
        pytest.param({(1, 2): 3}, id="name that is no text"),
        pytest.param(object(), id="any object"),
        pytest.param(nested(5000), id="nested very deeply"),
    ],
)
@pytest.mark.parametrize("rule", [FULL, HASH, redacted(lambda text: text)], ids=["full", "hash", "redacted"])
def test_what_is_no_json_is_marked_and_the_rest_is_kept(odd: object, rule: TextRule) -> None:
    found = kept(rule, [*user("hi"), {"role": "user", "content": odd}])
    assert len(found.prompt_key) == 32
    assert found.cut or found.redaction_error or rule is HASH
    if found.messages is not None:
        assert json.loads(found.messages)[0]["content"] == "hi"


def test_lone_surrogates_are_replaced_so_that_every_store_takes_the_text() -> None:
    found = kept(FULL, user("a\ud800b"))
    assert json.loads((found.messages or "").encode()) == user("a\ufffdb")
    assert found.prompt_key == prompt_key(user("a\ud800b"))


def test_a_known_key_is_not_computed_again() -> None:
    assert FULL.keep(take_snapshot((user("hi"), None, None)), "known").prompt_key == "known"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({"mode": "redacted"}, "needs a function", id="redacted without a function"),
        pytest.param({"mode": "full", "redact": str}, "needs a function", id="a function for full text"),
        pytest.param({"mode": "some"}, "must be 'full', 'redacted' or 'hash', got 'some'", id="unknown"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TextRule(**fields)


def test_a_function_is_found_by_its_name() -> None:
    assert load_function("textwrap:dedent")("  hi") == "hi"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("textwrap", "write it as 'module:function'", id="no function"),
        pytest.param("nowhere_at_all:redact", "can't be imported: ModuleNotFoundError", id="no such module"),
        pytest.param("textwrap:nothing", "has no such function", id="no such function"),
        pytest.param("sys:path", "holds list, not a function", id="no function at all"),
    ],
)
def test_a_function_that_is_none_is_refused(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_function(name)


def test_a_module_that_fails_on_import_is_refused_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_redaction.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        load_function("broken_redaction:redact")


def test_a_text_too_long_to_redact_is_left_out() -> None:
    kept = TextRule(mode="redacted", redact=str.upper).keep(
        take_snapshot(([{"role": "user", "content": "a" * (LONGEST_REDACTED + 1)}], None, None))
    )
    assert kept.cut
    assert "too long to redact" in str(kept.messages)
    assert len(str(kept.messages)) < 200


@pytest.mark.parametrize("end", ["", ","])
def test_a_data_url_without_an_end_is_seen_through_at_once(end: str) -> None:
    text = "data:a/" + "a" * 20_000_000 + end
    began = time.perf_counter()
    TextRule().keep(take_snapshot(([{"role": "user", "content": text}], None, None)))
    assert time.perf_counter() - began < 20
