from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import router.cli  # noqa: F401 - adds the commands
import training.commands  # noqa: F401 - adds the commands
from router.cli.console import app
from router.errors import ConfigError
from training.commands import versions
from training.tracking.publish import RunRecord, publish
from training.tracking.versions import COMPARISON_RUN, RouterRegistry

RECORD = RunRecord(
    params={"policy_version": "abc", "data_digest": "0123456789"},
    metrics={"calls": 1240.0, "test.success": 0.9, "test.cost_usd": 0.002},
)

CLAIMS = {"loss": "dearer", "win": "more successful"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with two versions of `support`; the second was compared, and is the challenger."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    (folder / "router").mkdir()
    (folder / "router" / "manifest.json").write_text("{}", encoding="utf-8")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runs = [publish(folder / "router", RECORD, uri, register="support").run_id for _ in range(2)]
        client = MlflowClient(tracking_uri=uri)
        claims = [{"outcome": outcome, "against": "x", "text": text} for outcome, text in CLAIMS.items()]
        report = {"prompts": 30, "verdict": claims}
        client.log_dict(runs[1], report, "report.json")
        client.set_model_version_tag("support", "2", COMPARISON_RUN, runs[1])
        client.set_model_version_tag("support", "2", "recommendation", "shadow first")
        client.set_registered_model_alias("support", "challenger", "2")
        client.set_registered_model_alias("support", "champion", "1")
        yield uri


def run(store: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--tracking-uri", store])


def test_the_table_says_what_each_version_is_worth(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.console, "_width", 160)  # it keeps the width of when it was made
    result = run(store, "versions", "support")
    assert result.exit_code == 0
    second, first = [line.split("  ") for line in result.stdout.splitlines() if "calls," in line]
    cells = [cell.strip() for cell in second if cell.strip()]
    assert (cells[:2], cells[3:]) == (
        ["2", "challenger"],
        ["1,240 calls, 01234567", "90.0 %", "$2.00", "shadow first"],
    )
    assert "champion" in "".join(first)


def test_a_script_gets_the_versions_as_json(store: str) -> None:
    told = json.loads(run(store, "versions", "support", "--json").stdout)
    assert [one["version"] for one in told["versions"]] == ["2", "1"]
    assert told["versions"][0]["recommendation"] == "shadow first"


def test_the_table_fits_80_columns_and_ends_with_the_next_step(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions.console, "_width", 80)
    result = run(store, "versions", "support")
    assert "challenger  " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == "next: pointsman promote support 2\n"


def test_without_a_name_the_registered_routers_are_listed(store: str) -> None:
    result = run(store, "versions")
    assert result.stdout == "support: @challenger is version 2, @champion is version 1\n"
    assert result.stderr == "next: pointsman versions support\n"
    told = json.loads(run(store, "versions", "--json").stdout)
    assert told == {"routers": [{"name": "support", "aliases": {"challenger": "2", "champion": "1"}}]}


def test_a_promotion_shows_the_comparison_and_needs_a_terminal_or_yes(store: str) -> None:
    result = run(store, "promote", "support", "@challenger")
    assert isinstance(result.exception, ConfigError)
    assert "There is no terminal to ask at: give --yes" in str(result.exception)
    assert RouterRegistry(store).pointed("support", "champion") == "1"


def test_a_promotion_and_its_rollback_say_what_they_did(store: str) -> None:
    told = json.loads(run(store, "promote", "support", "@challenger", "--yes", "--json").stdout)
    assert (told["version"], told["move"]["previous"]) == ("2", "1")
    again = json.loads(run(store, "promote", "support", "2", "--yes", "--json").stdout)
    assert again == {"name": "support", "alias": "champion", "version": "2", "move": None}
    back = json.loads(run(store, "rollback", "support", "--json").stdout)
    assert (back["version"], back["move"]["previous"]) == ("1", "2")
    with pytest.raises(ConfigError, match="no earlier version"):
        raise run(store, "rollback", "support").exception or AssertionError


def test_the_comparison_comes_before_the_question(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("training.commands.versions.say", said.append)
    run(store, "promote", "support", "2", "--alias", "next", "--yes")
    run(store, "promote", "support", "1", "--alias", "first", "--yes")
    assert said == [
        "the last comparison of version 2, on 30 prompts:",
        "  worse: dearer",
        "  no loss: 1 other finding, in report.html of the comparison's run",
        "support@next points to version 2 now, before to nothing",
        "applications that load models:/support@next take it over, usually within a minute",
        "no comparison of version 1 is recorded: "
        "`pointsman compare CALLS... --router models:/support/1 --out report` makes one",
        "support@first points to version 1 now, before to nothing",
        "applications that load models:/support@first take it over, usually within a minute",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--alias", "champion"], "give --register NAME as well", id="without a name"),
        pytest.param(["--register", "x", "--alias", "latest"], "can't be an alias", id="reserved"),
    ],
)
def test_an_alias_that_can_not_be_set_stops_training_first(
    tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["train", "no.jsonl", "--out", str(tmp_path / "r"), *options])
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
