from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from router import cli
from router.cli.console import one_line_text
from router.cli.explanation_tables import NO_KEYS, print_explanation, sentences_on
from router.explaining.change import Change
from router.explaining.explain import Evidence, Explanation, Prospect
from router.explaining.nearest import Neighbour
from router.records import Decision, Json, Request
from router.version import Version

Run = Callable[..., tuple[int, str, str]]
HOSTILE = "[red]x[/]\x1b[31m\x9b1m\u202e:smile:\r\n[link=http://example.com]y[/link]"


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process, with something on standard input: exit code, output, messages."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object, stdin: bytes | None = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", "explain", *map(str, arguments)])
        typed = Terminal() if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr(sys, "stdin", typed)
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, messages = capsys.readouterr()
        return int(end.value.code or 0), out, messages

    return command


def explanation(**changed: Json) -> Explanation:
    """Two models, the cheap one chosen."""
    whole = Explanation(
        decision=Decision(
            model="cheap",
            source="learned",
            confidence=0.8,
            success_probability={"cheap": 0.8, "strong": 0.9},
            expected_cost_usd={"cheap": 0.001, "strong": 0.02},
            reason="best value",
            policy_version="v1",
        ),
        prospects=(
            Prospect(
                model="cheap", success_probability=0.8, expected_cost_usd=0.001, value=0.7, rejected=None
            ),
            Prospect(
                model="strong", success_probability=0.9, expected_cost_usd=None, value=0.4, rejected=None
            ),
        ),
        evidence=Evidence(
            model="cheap",
            reference=0.5,
            success_probability=0.8,
            log_odds={"meaning": 1.5, "words": -0.25, "tools": 0.0},
        ),
        similarity=0.75,
        neighbours=(
            Neighbour(key="00ab" * 4, cosine=0.9, outcomes={"cheap": 1.0, "strong": 0.0}, text=None),
            Neighbour(key="00cd" * 4, cosine=0.7, outcomes={"strong": 0.5}, text=None),
        ),
        change=Change(model="strong", success_probability=0.95, chosen_cost_share=4.5, tradeoff=0.25),
    )
    return replace(whole, **changed)


def printed(of: Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    print_explanation(of)
    return capsys.readouterr().out


def row(out: str, start: str) -> list[str]:
    """The cells of the row that starts with a word."""
    (line,) = [line for line in out.splitlines() if line.strip().startswith(start + "  ")]
    return line.split()


@pytest.mark.parametrize("prompt", ["When do you open?", "", "今天的订单在哪里", "--", "[red]x[/]"])
def test_the_json_is_the_explanation(run: Run, router_folder: Path, version: Version, prompt: str) -> None:
    from router.explaining.explain import explain

    code, out, _ = run(
        "--router", router_folder, "--json", "--task-type", "chat", "--tag", "vip", "--", prompt
    )
    expected = explain(version, Request.of(prompt, task_type="chat", tags=["vip"])).to_json()
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(expected))


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_prompt_may_come_from_standard_input(
    run: Run, router_folder: Path, version: Version, arguments: list[str]
) -> None:
    stdin = "Wann öffnen Sie?\nMorgens?\n".encode()
    code, out, _ = run("--router", router_folder, "--json", *arguments, stdin=stdin)
    assert code == 0
    decision = version.decide(Request.of("Wann öffnen Sie?\nMorgens?"))
    assert json.loads(out)["decision"] == json.loads(json.dumps(decision.to_json()))


def test_bytes_that_are_no_text_do_not_stop_it(run: Run, router_folder: Path) -> None:
    assert run("--router", router_folder, stdin=b"\xff\xfe\x00")[0] == 0


def test_at_a_terminal_a_prompt_is_asked_for(run: Run, router_folder: Path) -> None:
    code, out, messages = run("--router", router_folder, stdin=None)
    assert (code, out) == (1, "")
    assert messages == "error: no prompt: give it as an argument, or on standard input\n"


def test_people_see_the_choice_its_grounds_and_what_would_change_it(run: Run, router_folder: Path) -> None:
    code, out, _ = run("--router", router_folder, "Refactor the parser so that it streams.")
    assert code == 0
    for words in ("success", "nothing known", "meaning", "neighbours", "nearest training prompts", "key"):
        assert words in out


def test_a_router_that_is_not_there_is_told_in_one_line(run: Run) -> None:
    code, out, messages = run("--router", "nowhere", "hi")
    assert (code, out) == (1, "")
    assert messages.startswith("error: nowhere: no such folder")


def test_each_model_has_a_row_with_chance_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(explanation(), capsys)
    assert row(out, "cheap") == ["cheap", "80.0", "%", "$1.00", "0.700", "chosen"]
    assert row(out, "strong") == ["strong", "90.0", "%", "unknown", "0.400"]


def test_a_ruled_out_model_has_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    cheap, strong = explanation().prospects
    out = printed(explanation(prospects=(cheap, replace(strong, rejected="takes no images"))), capsys)
    assert "ruled out: takes no images" in out


def test_each_group_has_its_weight_the_heaviest_first(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(explanation(), capsys)
    assert row(out, "nothing known")[-2:] == ["50.0", "%"]
    assert row(out, "meaning") == ["meaning", "+1.50", "4.48"]
    assert out.index("meaning") < out.index("words") < out.index("tools")
    assert row(out, "this request")[-2:] == ["80.0", "%"]


def test_each_neighbour_has_what_models_did_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(explanation(), capsys)
    assert row(out, "00ab" * 4)[1:] == ["0.90", "cheap", "strong"]
    assert row(out, "00cd" * 4)[1:] == ["0.70", "strong", "(50.0", "%)"]


def test_a_text_is_shown_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    neighbour = Neighbour(key="ab", cosine=0.5, outcomes={}, text="open\non Sunday?")
    assert "open on Sunday?" in printed(explanation(neighbours=(neighbour,)), capsys)


def test_without_keys_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert NO_KEYS in printed(explanation(neighbours=None), capsys)


def sentences(of: Explanation) -> str:
    return "\n".join(sentences_on(of))


def test_only_sufficient_changes_are_named() -> None:
    assert sentences(explanation()) == (
        "The router would choose strong instead\n"
        "- if its chance of success were above 95.0 % (it is 90.0 %)\n"
        "- if the cost of cheap were above 4.5 times the present one\n"
        "- with a trade-off of 0.250 (0: success, 0.5: as trained, 1: cost)"
    )


def test_a_lower_cost_is_a_share_of_the_present_one() -> None:
    change = Change(model="strong", cost_share=0.4, chosen_success_probability=0.3)
    assert sentences(explanation(change=change)).endswith(
        "- if its cost were below 40.0 % of the present one\n"
        "- if the chance of cheap were below 30.0 % (it is 80.0 %)"
    )


def test_after_a_rule_the_sentences_say_what_the_policy_lacked() -> None:
    whole = explanation(change=Change(model="strong", missing_confidence=0.05, missing_similarity=0.1))
    assert whole.decision is not None
    ruled = replace(whole, decision=replace(whole.decision, source="rule"))
    assert sentences(ruled) == (
        "The policy's own choice is strong. It would decide\n"
        "- if its confidence were 5.0 points higher\n"
        "- if the nearest training prompts were more alike by 0.100"
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"change": None}, "No other model is possible", id="pinned"),
        pytest.param({"decision": None, "change": None}, "Relax the limits, or add a model", id="none left"),
    ],
)
def test_where_nothing_would_change_it_that_is_said(changed: dict[str, Json], words: str) -> None:
    assert sentences(explanation(**changed)).startswith(words)


def test_without_a_model_left_that_is_the_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(explanation(decision=None, change=None), capsys)
    assert out.startswith("no model may serve this request\n")


def test_what_others_wrote_is_neither_markup_nor_codes_for_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = explanation()
    assert whole.decision is not None
    assert whole.evidence is not None
    cheap, strong = whole.prospects
    hostile = replace(
        whole,
        decision=replace(whole.decision, model=HOSTILE, reason=HOSTILE),
        prospects=(replace(cheap, model=HOSTILE), replace(strong, rejected=HOSTILE)),
        evidence=replace(whole.evidence, model=HOSTILE),
        neighbours=(Neighbour(key="ab", cosine=0.5, outcomes={HOSTILE: 1.0}, text=HOSTILE),),
        change=Change(model="strong", chosen_success_probability=0.5),
    )
    hostile = replace(hostile, prospects=(*hostile.prospects, cheap))
    out = printed(hostile, capsys)
    assert not set(out) & {"\x1b", "\x9b", "\u202e", "\r"}
    assert out.count("[red]x[/]") >= 5
    assert ":smile:" in out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param(" a \n\t b ", "a b", id="one line"),
        pytest.param("\x1b]0;title\x07", "\ufffd]0;title\ufffd", id="codes"),
        pytest.param("\u202eabc", "\ufffdabc", id="direction"),
        pytest.param("\ud800", "\ufffd", id="no character"),
        pytest.param("[bold]", "[bold]", id="markup"),
        pytest.param("今天", "今天", id="any script"),
    ],
)
def test_a_shown_text_only_says_something(text: str, line: str) -> None:
    assert one_line_text(text).plain == line
