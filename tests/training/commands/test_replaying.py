from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router import cli
from router.records import Json
from router.version import Version
from tests.services.provider import KEY, Provider, provider
from tests.training.replaying.replay_calls import KEY_VARIABLE
from training.spending.budget import ledger_of, read_lines

__all__ = ["provider"]

Replay = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(tmp_path: Path, version: Version) -> Path:
    """Three prompts of which one model was tried on each."""
    path = tmp_path / "calls.jsonl"
    rows = [
        {"call_id": str(n), "prompt": f"Write haiku {n}.", "model": version.models[0], "success": True}
        for n in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def replay(  # noqa: PLR0917 - fixtures
    log: Path,
    version: Version,
    router_folder: Path,
    encoder_cache: Path,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Replay:
    """Run `pointsman replay` on the log, against the provider: exit code, output, messages."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0}
    own = {"api_base": provider.api_base, "api_key_env": KEY_VARIABLE, "price": price}
    settings = {"models": {m: {**own, "litellm_model": f"openai/{m}"} for m in version.models}}
    config = log.with_name("pointsman.yaml")
    config.write_text(json.dumps(settings))
    always: tuple[object, ...] = (
        "--router", router_folder, "--config", config, "--cache", encoder_cache, "--strategy", "random",
        "--models", version.models[1], "--max-tokens", 50,
    )  # fmt: skip

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", "replay", str(log), *map(str, (*always, *arguments))])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return command


@pytest.fixture
def out(log: Path) -> Path:
    return log.with_name("replayed.jsonl")


def parsed(text: str) -> Json:
    return json.loads(text)


def test_with_yes_the_calls_are_made_and_a_second_run_makes_none(
    replay: Replay, out: Path, provider: Provider
) -> None:
    code, said, _ = replay("--out", out, "--budget", 1, "--yes", "--json")
    assert (code, parsed(said)["answered"], len(read_lines(out))) == (0, 3, 3)
    replay("--out", out, "--budget", 1, "--yes")
    assert len(provider.requests) == 3


@pytest.mark.parametrize(("purpose", "command"), [("train", "train"), ("judge", "compare")])
def test_answers_end_with_what_makes_them_count(
    replay: Replay, out: Path, purpose: str, command: str
) -> None:
    _, _, said = replay("--out", out, "--budget", 1, "--purpose", purpose, "--yes")
    words = " ".join(said.split())
    assert f"pointsman import {out} --judge MODEL --judge-budget USD --out judged.parquet" in words
    assert f"next: pointsman {command} {out.with_name('calls.jsonl')} {out}" in words


def test_a_dry_run_says_what_it_would_cost_and_calls_nobody(
    replay: Replay, out: Path, provider: Provider
) -> None:
    code, said, _ = replay("--out", out, "--budget", 1, "--dry-run", "--json")
    plan = parsed(said)
    assert (code, plan["calls"], plan["prompts"]) == (0, 3, 3)
    assert 0 < plan["expected_usd"] <= plan["at_most_usd"]
    assert (provider.requests, out.exists(), ledger_of(out).exists()) == ((), False, False)


def test_what_nobody_would_grade_and_a_missing_key_are_said_before_the_question(
    replay: Replay, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    _, said, messages = replay("--out", out, "--budget", 1)
    assert "can call an answer a success" in (said + messages).split("Make 3 calls")[0]
    monkeypatch.delenv(KEY_VARIABLE)
    code, said, messages = replay("--out", out, "--budget", 1)
    assert (code, "Make 3 calls" in said + messages) == (1, False)
    assert f"'{KEY_VARIABLE}' is not set" in " ".join(messages.split())


def test_a_replay_that_answered_nothing_ends_with_no_command(replay: Replay, out: Path) -> None:
    _, _, said = replay("--out", out, "--budget", 0, "--yes")
    assert "next:" not in said


def test_a_dry_run_says_how_many_calls_the_budget_bears(replay: Replay, out: Path) -> None:
    _, said, _ = replay("--out", out, "--budget", 1, "--dry-run", "--json")
    plan = parsed(said)
    budget = plan["at_most_usd"] / 2
    _, said, _ = replay("--out", out, "--budget", budget, "--dry-run", "--json")
    short = parsed(said)
    assert (plan["surely_borne"], plan["expected_borne"]) == (3, 3)
    assert (short["surely_borne"], short["expected_borne"]) == (1, 1)
    _, messages, _ = replay("--out", out, "--budget", budget, "--dry-run")
    assert "the budget surely covers the first 1 of 3 calls, and 1 at" in messages


def test_without_a_terminal_nothing_is_called_unless_yes_is_said(
    replay: Replay, out: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, _, messages = replay("--out", out, "--budget", 1)
    assert code == 1
    assert "give --yes" in " ".join(messages.split())
    assert (provider.requests, out.exists()) == ((), False)


@pytest.mark.parametrize(("reply", "calls"), [("n\n", 0), ("y\n", 3)])
def test_at_a_terminal_the_price_is_shown_before_anything_is_called(
    replay: Replay, out: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch, reply: str, calls: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(reply))
    _, said, messages = replay("--out", out, "--budget", 1)
    assert "Make 3 calls for about $" in said + messages
    assert len(provider.requests) == calls


def test_the_price_shown_is_never_above_the_budget(
    replay: Replay, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    _, said, messages = replay("--out", out, "--budget", 0.0001)
    assert "at most $0.00010 (the budget surely covers none of 3 calls, and 0 at" in said + messages


def test_calls_that_fail_are_named_and_the_exit_code_says_so(
    replay: Replay, out: Path, provider: Provider
) -> None:
    provider.close()
    code, said, messages = replay("--out", out, "--budget", 1, "--yes")
    assert code == 3
    assert "refuses connections); the next run tries them again" in said + messages
    assert "$0.00 of $1.00 is spent" in said + messages
    assert "were not made" not in said + messages


def test_an_output_that_is_no_json_lines_is_refused(replay: Replay, out: Path) -> None:
    code, _, messages = replay("--out", out.with_suffix(".parquet"), "--budget", 1, "--yes")
    assert code == 1
    assert "name a file ending in .jsonl" in " ".join(messages.split())
