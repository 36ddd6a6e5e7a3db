from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.linting.wording import RULES, may_hold_wordings, wordings
from tests.router.linting.prompt_lines import naming, talking


def words(text: str, *, prose: bool = True) -> list[str]:
    return [text[wording.start : wording.end] for _, wording in wordings(text, prose=prose)]


def rules(text: str, *, prose: bool = True) -> set[str]:
    return {rule.id for rule, _ in wordings(text, prose=prose)}


@pytest.mark.parametrize("prose", [True, False], ids=["in prose", "in code"])
@pytest.mark.parametrize(("rule", "line"), naming())
def test_a_line_that_names_a_model_is_found(rule: str, line: str, prose: bool) -> None:
    assert rule in rules(line, prose=prose)
    assert may_hold_wordings(line)


@pytest.mark.parametrize("prose", [True, False], ids=["in prose", "in code"])
@pytest.mark.parametrize("line", talking())
def test_a_line_that_talks_about_a_model_is_left_alone(line: str, prose: bool) -> None:
    assert words(line, prose=prose) == []


def test_there_are_enough_lines_of_both_kinds() -> None:
    found, quiet = naming(), talking()
    assert len({line for _, line in found}) == len(found) >= 60
    assert len(set(quiet)) == len(quiet) >= 80
    assert {rule for rule, _ in found} == {rule.id for rule in RULES}


def test_the_lines_one_below_the_other_are_found_as_they_are_one_by_one() -> None:
    lines = [line for _, line in naming()] + talking()
    one_by_one = [word for line in lines for word in words(line, prose=False)]
    assert words("\n".join(lines), prose=False) == one_by_one


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("You are Claude, a helpful assistant.", "You are an AI assistant"),
        ("As GPT-4, you answer briefly.", "As an AI assistant"),
        ("Act as ChatGPT.", "Act as an AI assistant"),
        ("Du bist ChatGPT.", "Du bist ein KI-Assistent"),
        ("Als ChatGPT sollst du kurz antworten.", "Als KI-Assistent"),
        ("En tant que ChatGPT, réponds brièvement.", "En tant qu'assistant IA"),
        ("Eres ChatGPT.", "Eres un asistente de IA"),
        ("你是ChatGPT。", "你是一个AI助手"),
        ("Claude, please be brief.", "the request itself, without a name"),
        ("Follow OpenAI's rules.", "the rules themselves, written out"),
    ],
)
def test_a_better_wording_is_given_in_the_language_of_the_prompt(text: str, better: str) -> None:
    ((_, wording),) = wordings(text)
    assert wording.better == better


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("You\u2019re ChatGPT.", id="curly apostrophe"),
        pytest.param("You are GPT\u20114.", id="hyphen that does not break"),
        pytest.param("You are\u00a0ChatGPT.", id="space that does not break"),
        pytest.param("Rules \u2014 act as ChatGPT.", id="dash"),
        pytest.param("\u0130stanbul. You are ChatGPT.", id="a letter that grows in lower case"),
    ],
)
def test_typography_makes_no_difference_and_moves_no_place(text: str) -> None:
    (found,) = words(text)
    assert found in text
    assert found.endswith(("ChatGPT", "4"))


@pytest.mark.parametrize(
    ("text", "prose", "code"),
    [
        pytest.param('"content": "You are ChatGPT."', True, True, id="a JSON value"),
        pytest.param('system: "You are ChatGPT."', True, True, id="a YAML value"),
        pytest.param('send("You are ChatGPT.")', False, True, id="an argument"),
        pytest.param('He wrote "You are ChatGPT." to it.', False, False, id="a sentence"),
        pytest.param('(e.g., "You are ChatGPT.")', False, True, id="an example"),
        pytest.param("`You are ChatGPT, be brief.`", False, True, id="backticks"),
        pytest.param('if "you are chatgpt" in text:', False, False, id="a keyword"),
    ],
)
def test_what_a_quotation_means_depends_on_where_it_stands(text: str, prose: bool, code: bool) -> None:
    assert (bool(words(text)), bool(words(text, prose=False))) == (prose, code)


def test_a_place_is_reported_once() -> None:
    assert words("You are ChatGPT, a large language model trained by OpenAI.") == ["You are ChatGPT"]


def test_marks_are_reported_once_a_line() -> None:
    assert words("[INST] a [/INST] b [INST] c [/INST]\n[INST] d [/INST]") == ["[INST]", "[INST]"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("Human: {question}\n\nAssistant:", ["Human:"], id="a turn each"),
        pytest.param("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", ["Human:"] * 2, id="two each"),
        pytest.param("### Human: {prompt}\n### Assistant:", ["Human:"], id="as headings"),
        pytest.param("Human: hello there", [], id="nobody answers"),
        pytest.param("Assistant: hello\nHuman: hello", [], id="the other way round"),
        pytest.param("Human:\nAssistant:\nUser:", [], id="a list of roles"),
        pytest.param("User: hello\nAssistant: hello", [], id="user"),
    ],
)
def test_human_and_assistant_turns_are_found_in_pairs(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(
    st.text(alphabet=st.sampled_from(list("Claude GPT-4,.you are\n\"'`[INST]<|im_start|>你是")), max_size=200)
)
def test_no_text_breaks_it_and_every_place_lies_in_the_text(text: str) -> None:
    last = 0
    for _, wording in wordings(text):
        assert last <= wording.start < wording.end <= len(text)
        last = wording.end


@pytest.mark.parametrize(
    "piece", ["You are Claude ", "[INST] ", "Human: a\n", '"Claude, ', "as a a a ", "<|"]
)
def test_a_text_full_of_beginnings_is_read_in_one_pass(piece: str) -> None:
    assert len(wordings(piece * (200_000 // len(piece)))) <= 200_000
