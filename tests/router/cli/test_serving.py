from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router import __version__, cli
from router.deciding.rules import KEYWORDS
from router.loading.artifact import MANIFEST
from router.records import Json
from router.serving.client import Router

Run = Callable[..., tuple[int, str, str]]
SECRET = "sk-this-must-never-be-printed"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process, with a provider's key set: exit code, output, messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, messages = capsys.readouterr()
        assert SECRET not in out + messages
        return int(end.value.code or 0), out, messages

    return command


def lines(path: Path, *values: Json) -> Path:
    """A file of requests, one JSON value a line; bytes are written as they are."""
    whole = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    path.write_bytes(b"\n".join(whole))
    return path


def parsed(out: str) -> list[dict[str, Json]]:
    return [json.loads(line) for line in out.splitlines()]


def test_version_prints_the_version(run: Run) -> None:
    assert run("version") == (0, f"{__version__}\n", "")


def test_without_a_command_help_is_shown(run: Run) -> None:
    assert "route" in "".join(run()[1:])


def test_route_writes_the_decision_of_each_line_in_order(
    run: Run, router_folder: Path, loaded: Router, tmp_path: Path
) -> None:
    prompts = ["hi", "``` refactor", "今天的订单在哪里", "a\ud800b"]
    requests = lines(tmp_path / "r.jsonl", *({"prompt": prompt} for prompt in prompts))
    code, out, messages = run("route", "--router", router_folder, requests)
    assert (code, messages) == (0, "")
    assert parsed(out) == [loaded.route(prompt).to_json() for prompt in prompts]


def test_route_says_at_a_terminal_what_it_waits_for(tmp_path: Path) -> None:
    rules = tmp_path / "pointsman.yaml"
    rules.write_text("models: {gpt-5: {}}\nrules: {default: gpt-5}\n", encoding="utf-8")
    typed, terminal = os.openpty()
    os.write(typed, b"\x04")
    command = [sys.executable, "-m", "router.cli", "route", "--router", str(rules)]
    done = subprocess.run(command, stdin=terminal, capture_output=True, text=True, check=True)
    assert (done.stdout, "one JSON object a line" in done.stderr) == ("", True)
    os.close(typed)
    os.close(terminal)


def test_route_decides_only_by_the_expected_router(
    run: Run, router_folder: Path, loaded: Router, tmp_path: Path
) -> None:
    requests = lines(tmp_path / "r.jsonl", {"prompt": "hi"})
    digest = loaded.version.digest
    assert run("route", "--router", router_folder, "--expect", digest, requests)[0] == 0
    code, out, messages = run("route", "--router", router_folder, "--expect", "sha256:0", requests)
    assert (code, out) == (1, "")
    assert digest in messages.replace("\n", "")


def test_route_answers_every_request_of_the_sample(run: Run, router_folder: Path, sample_log: Path) -> None:
    requests = sample_log.with_name("requests.jsonl")
    code, out, _ = run("route", "--router", router_folder, requests)
    assert (code, len(parsed(out))) == (0, len(requests.read_bytes().splitlines()))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(b"", "the line is empty: a request is a JSON object", id="empty"),
        pytest.param(b" \t\r", "the line is empty", id="blank"),
        pytest.param(b"{", "not valid JSON", id="half an object"),
        pytest.param(b"\xff\xff", "not valid JSON", id="no text"),
        pytest.param(b"[" * 100_000, "not valid JSON", id="endless nesting"),
        pytest.param(5, "a request is a JSON object, got int", id="a number"),
        pytest.param(["hi"], "a request is a JSON object, got list", id="a list"),
        pytest.param({}, "this one has neither", id="neither"),
        pytest.param({"prompt": "a", "messages": [{"role": "user"}]}, "this one has both", id="both"),
        pytest.param({"prompt": "a", "tags": 5}, "tags must be a list of texts, got 5", id="tags"),
        pytest.param({"messages": [{"content": "a"}]}, "message 1 is not an object with a 'role'", id="role"),
    ],
)
def test_a_bad_line_gets_an_error_in_its_place_and_exit_code_3(
    run: Run, router_folder: Path, tmp_path: Path, bad: Json, message: str
) -> None:
    good = {"prompt": "hi"}
    requests = lines(tmp_path / "r.jsonl", good, bad, good)
    code, out, messages = run("route", "--router", router_folder, requests)
    first, error, last = parsed(out)
    assert code == 3
    assert first == last
    assert "model" in first
    assert list(error) == ["error"]
    assert message in error["error"]
    assert messages == "1 line(s) failed: see the 'error' lines in their place\n"


def test_tools_too_deep_for_python_do_not_stop_the_other_lines(
    run: Run, router_folder: Path, tmp_path: Path
) -> None:
    deep = b'{"prompt": "a", "tools": ' + b"[" * 940 + b"]" * 940 + b"}"
    requests = lines(tmp_path / "r.jsonl", deep, {"prompt": "hi"})
    code, out, _ = run("route", "--router", router_folder, requests)
    assert code in (0, 3)
    assert "model" in parsed(out)[1]


def test_an_unknown_cost_is_printed_as_null(
    run: Run, router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from router import version
    from router.models.prices import ModelPrice

    monkeypatch.setattr(
        version, "current_prices", lambda models, *_: dict.fromkeys(models, ModelPrice.unknown())
    )
    _, out, _ = run("route", "--router", router_folder, lines(tmp_path / "r.jsonl", {"prompt": "hi"}))
    assert set(parsed(out)[0]["expected_cost_usd"].values()) == {None}


def test_the_settings_given_to_route_are_in_force(run: Run, router_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("fallback: {confidence: 1.0}")
    requests = lines(tmp_path / "r.jsonl", {"prompt": "hi"})
    _, out, _ = run("route", "--router", router_folder, "--config", "team.yaml", requests)
    assert parsed(out)[0]["source"] == "rule"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            "modles: {}", "error: team.yaml:1: unknown setting 'modles'; known here: ", id="unknown"
        ),
        pytest.param("\n" * 99 + "modles: {}", "error: team.yaml:100: unknown setting", id="in line 100"),
        pytest.param("rules: {default: gpt-9}", "error: rules name 'gpt-9', which this router", id="model"),
        pytest.param("rules: [bold", "error: team.yaml:1: not valid YAML: ", id="no YAML"),
    ],
)
def test_wrong_settings_end_in_one_line_and_exit_code_1(
    run: Run, router_folder: Path, tmp_path: Path, settings: str, message: str
) -> None:
    (tmp_path / "team.yaml").write_text(settings)
    code, out, messages = run("route", "--router", router_folder, "--config", "team.yaml", os.devnull)
    assert (code, out, messages.count("\n")) == (1, "", 1)
    assert messages.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["route", "--router", "nowhere"], "error: nowhere: no such folder; `pointsman", id="no folder"
        ),
        pytest.param(["route", "--router", "."], f"error: .: no {MANIFEST} in it, so it is no", id="foreign"),
        pytest.param(["route", "--router", "[red]x:x:"], "error: [red]x:x:: no such folder", id="markup"),
        pytest.param(
            ["route", "--router", ".", "--config", "gone.yaml"],
            "error: gone.yaml: can't be read",
            id="the settings before the router",
        ),
        pytest.param(
            ["train", "x.parquet", "--out", "o", "--config", "gone.yaml"],
            "error: gone.yaml: can't be read: ",
            id="no settings",
        ),
        pytest.param(
            ["train", "x.parquet", "--out", "o", "--estimator", "best"],
            "error: --estimator 'best': it must be one of auto, success, label",
            id="estimator",
        ),
        pytest.param(
            ["import", "x.parquet", "--out", "o", "--map", "model"],
            "error: --map 'model': write FIELD=COLUMN, for example --map model=model_name",
            id="mapping",
        ),
        pytest.param(
            ["import", "x.parquet", "--out", "o", "--format", "xml"],
            "error: --format 'xml': no such format; it is one of auto, pointsman",
            id="format",
        ),
        pytest.param(
            ["import", "gone.parquet", "--out", "o"], "error: gone.parquet: no such file", id="no log"
        ),
        pytest.param(
            ["import", "x.parquet", "--out", "o.csv"],
            "error: --out o.csv: the canonical log is Parquet",
            id="no Parquet",
        ),
    ],
)
def test_what_an_operator_must_handle_ends_in_one_line_and_exit_code_1(
    run: Run, arguments: list[str], message: str
) -> None:
    code, out, messages = run(*arguments)
    assert (code, out, messages.count("\n")) == (1, "", 1)
    assert messages.startswith(message)


def test_a_damaged_router_ends_in_one_line_and_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    code, _, messages = run("route", "--router", tmp_path, os.devnull)
    assert code == 1
    assert "not valid JSON" in messages
    assert messages.count("\n") == 1


def test_a_missing_option_ends_in_usage_and_exit_code_2(run: Run) -> None:
    code, _, messages = run("route")
    assert code == 2
    assert "--router" in messages


def test_a_provider_key_in_the_settings_is_not_printed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text(f"models: {{a: {{api_key: {SECRET}}}}}")
    _, _, messages = run("import", "x.parquet", "--out", "o", "--config", "team.yaml")
    assert "unknown setting 'models.a.api_key'" in messages


def test_the_installed_command_reads_standard_input(router_folder: Path) -> None:
    command = [sys.executable, "-m", "router.cli", "route", "--router", str(router_folder)]
    stdin = f'{{"prompt": "{KEYWORDS[0]}"}}\nnonsense\n'.encode()
    done = subprocess.run(
        command, input=stdin, capture_output=True, check=False, env={**os.environ, "OPENAI_API_KEY": SECRET}
    )
    assert done.returncode == 3
    assert ["error" in line for line in parsed(done.stdout.decode())] == [False, True]
    assert SECRET.encode() not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
