from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from router import cli
from router.errors import ConfigError
from router.records import Json
from router.settings.yaml_file import parse_config
from tests.services.provider import KEY, Provider, Reply, answer, provider, tokens
from tests.training.judging.judging import KEY_VARIABLE, answered, log_of
from training.options import with_judge

__all__ = ["provider"]

Import = Callable[..., tuple[int, str, str]]
GOOD = answer('{"reason": "right", "success": true}', usage=tokens(200, 20))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def import_log(
    tmp_path: Path, provider: Provider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Import:
    """Run `pointsman import` on a log of three calls, judged by the provider: exit code, output, messages."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    provider.script("judge", GOOD)
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
    own = {"api_base": provider.api_base, "api_key_env": KEY_VARIABLE, "price": price}
    config = tmp_path / "pointsman.yaml"
    config.write_text(json.dumps({"models": {"referee": {**own, "litellm_model": "openai/judge"}}}))
    log = log_of(tmp_path, answered(1), answered(2), answered(3, success=False))
    always = ("--out", tmp_path / "calls.parquet", "--config", config)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", "import", log, *map(str, (*always, *arguments))])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return command


ASKED = ("--judge", "referee", "--judge-budget", 1)


def test_with_yes_the_judge_is_asked_and_its_report_is_in_the_output(
    import_log: Import, tmp_path: Path, provider: Provider
) -> None:
    code, said, _ = import_log(*ASKED, "--judge-repeats", 2, "--yes", "--json")
    report = json.loads(said)["outcomes"]["judge"]
    assert (code, report["judged"], report["unanimous"], report["kappa"]) == (0, 2, 1.0, None)
    assert report["cost_usd"] == pytest.approx(4 * 400e-6)
    frame = pl.read_parquet(tmp_path / "calls.parquet").sort("call_id")
    assert frame["outcome_source"].to_list() == ["judge", "judge", "feedback"]
    assert len(provider.requests) == 4


def test_people_see_what_the_judge_said_and_cost(import_log: Import) -> None:
    _, said, messages = import_log(*ASKED, "--yes")
    shown = " ".join((said + messages).split())
    assert "judge referee: 2 of 2 calls that no rule before it decides" in shown
    assert "judge referee: 2 calls judged, 100.0 % of them successes" in shown
    assert "cost: $0.00080; $0.00080 of $1.00 is spent" in shown


def test_a_second_import_pays_nothing_and_asks_nothing(import_log: Import, provider: Provider) -> None:
    import_log(*ASKED, "--yes")
    code, said, _ = import_log(*ASKED, "--json")
    assert (code, json.loads(said)["outcomes"]["judge"]["reused"], len(provider.requests)) == (0, 2, 2)


def test_a_dry_run_says_what_the_judge_would_cost_and_writes_nothing(
    import_log: Import, tmp_path: Path, provider: Provider
) -> None:
    code, said, _ = import_log(*ASKED, "--dry-run", "--json")
    offer = json.loads(said)
    assert (code, offer["calls"], offer["sampled"]) == (0, 2, 2)
    assert 0 < offer["expected_usd"] <= offer["at_most_usd"]
    assert (offer["surely_borne"], offer["expected_borne"]) == (2, 2)
    assert (provider.requests, sorted(tmp_path.glob("calls*"))) == ((), [])


def test_a_dry_run_writes_no_rejected_rows_either(import_log: Import, tmp_path: Path) -> None:
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"model": 3}\n')
    config = tmp_path / "pointsman.yaml"
    text = json.loads(config.read_text()) | {"training": {"max_reject_share": 0.5}}
    config.write_text(json.dumps(text))
    code, _, _ = import_log(*ASKED, "--dry-run")
    assert (code, sorted(path.name for path in tmp_path.iterdir())) == (0, ["log.jsonl", "pointsman.yaml"])


def test_a_place_that_can_not_be_written_is_told_before_anything_is_paid(
    import_log: Import, tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "calls.parquet").mkdir()
    code, _, messages = import_log(*ASKED, "--yes")
    assert (code, provider.requests) == (1, ())
    assert "calls.parquet: can't be written: Is a directory" in " ".join(messages.split())


def test_without_a_terminal_nothing_is_called_unless_yes_is_said(
    import_log: Import, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, _, messages = import_log(*ASKED)
    assert (code, provider.requests, sorted(tmp_path.glob("calls*"))) == (1, (), [])
    assert "2 calls would cost about $" in messages
    assert "give --yes" in messages


@pytest.mark.parametrize(("reply", "calls"), [("n\n", 0), ("y\n", 2)])
def test_at_a_terminal_the_price_is_shown_before_anything_is_called(
    import_log: Import, provider: Provider, monkeypatch: pytest.MonkeyPatch, reply: str, calls: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(reply))
    code, said, messages = import_log(*ASKED)
    assert "Make 2 calls for about $" in said + messages
    assert (code, len(provider.requests)) == (0 if calls else 1, calls)


@pytest.mark.parametrize(("most", "warned"), [(1, True), (2, False)])
def test_failures_known_of_all_calls_beside_a_judged_sample_are_warned_of(
    import_log: Import, most: int, warned: bool
) -> None:
    _, said, _ = import_log(*ASKED, "--judge-most", most, "--yes")
    note = (
        "note: 1. feedback found 1 failures and no success among all calls, but the judge judged only 1 of "
        "2: failures are too frequent among the known outcomes."
    )
    assert (note in " ".join(said.split())) is warned


def test_people_are_told_why_replies_may_be_unreadable(import_log: Import, provider: Provider) -> None:
    provider.script("judge", Reply(text="<think>Well, ", finish_reason="length"))
    _, said, _ = import_log(*ASKED, "--yes")
    assert "unreadable: 2 replies hold no single verdict; a judge that thinks first" in " ".join(said.split())


def test_people_are_told_what_the_budget_could_not_bear(import_log: Import) -> None:
    _, said, _ = import_log("--judge", "referee", "--judge-budget", 0, "--yes")
    assert "not asked: 2 calls that the budget did not cover: raise --judge-budget" in " ".join(said.split())


def test_a_judge_that_can_not_be_reached_costs_nothing_and_the_exit_code_says_so(
    import_log: Import, tmp_path: Path, provider: Provider
) -> None:
    provider.close()
    code, said, _ = import_log(*ASKED, "--yes", "--json")
    report = json.loads(said)["outcomes"]["judge"]
    assert (code, report["spent_usd"], report["over_budget"]) == (3, 0.0, 0)
    assert "refuses connections" in next(iter(report["failed"]))
    assert (tmp_path / "calls.parquet").exists()


def test_a_budget_that_bears_no_call_asks_nobody_and_imports(import_log: Import, provider: Provider) -> None:
    code, said, _ = import_log("--judge", "referee", "--judge-budget", 0, "--json")
    assert (code, json.loads(said)["outcomes"]["judge"]["over_budget"], provider.requests) == (0, 2, ())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("--judge", "referee", "--yes"), "give --judge-budget USD", id="no budget"),
        pytest.param(("--judge-most", 5), "--judge-most: there is no judge", id="no judge"),
        pytest.param(("--judge-budget", 5), "--judge-budget: there is no judge", id="a budget alone"),
        pytest.param(("--dry-run",), "give --judge MODEL as well", id="dry run of nothing"),
        pytest.param((*ASKED, "--judge-rubric", "no.md"), "no.md: the judge's rubric", id="rubric"),
    ],
)
def test_what_can_not_be_done_is_told_before_anybody_is_asked(
    import_log: Import, provider: Provider, arguments: tuple[object, ...], told: str
) -> None:
    code, _, messages = import_log(*arguments)
    assert (code, provider.requests) == (1, ())
    assert told in " ".join(messages.split())


@pytest.mark.parametrize(
    ("rules", "given", "kinds"),
    [
        pytest.param("", {}, [], id="nobody asked for one"),
        pytest.param("", {"model": "m"}, ["feedback", "error", "evaluation", "judge"], id="no rules"),
        pytest.param("{error: {}}", {"model": "m"}, ["error", "judge"], id="the last"),
        pytest.param(
            "{error: {}}, {otherwise: {success: true}}",
            {"model": "m"},
            ["error", "judge", "otherwise"],
            id="before otherwise",
        ),
        pytest.param(
            "{judge: {model: a}}, {error: {}}", {"model": "m"}, ["judge", "error"], id="in its place"
        ),
    ],
)
def test_a_judge_of_the_command_line_goes_among_the_rules(rules: str, given: Json, kinds: list[str]) -> None:
    found = with_judge(parse_config(f"outcomes: {{rules: [{rules}]}}"), given).outcomes
    assert [rule.kind for rule in found.rules] == kinds
    assert not given or found.judge is not None


def test_the_command_line_changes_what_it_names_and_leaves_the_rest() -> None:
    config = parse_config("outcomes: {rules: [{judge: {model: a, repeats: 3, budget_usd: 2.0}}]}")
    found = with_judge(config, {"model": "b", "most": 7}).outcomes.judge
    assert found is not None
    rule = found[1]
    assert (rule.model, rule.most, rule.repeats, rule.budget_usd) == ("b", 7, 3, 2.0)


def test_two_judges_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is one 'judge' at most"):
        parse_config("outcomes: {rules: [{judge: {model: a}}, {judge: {model: b}}]}")
