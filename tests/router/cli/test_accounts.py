from __future__ import annotations

import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router import cli
from router.call_log import feedback
from router.call_log.costs import GROUPINGS
from router.call_log.log import read_rows
from router.records import Json
from tests.services.postgres import Postgres
from tests.services.runtime_log import NOON, STORES, failed, give, record, write_log

Run = Callable[..., tuple[int, str, str]]
DAY = 86_400.0


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process, in an empty folder: exit code, output, messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # of a parallel run's own terminal

    def command(*arguments: object, stdin: bytes | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", *map(str, arguments)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, messages = capsys.readouterr()
        return int(end.value.code or 0), out, messages

    return command


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Two models on two days: three calls, one of which has no known cost, and a failed attempt."""
    return write_log(
        tmp_path / "calls.db",
        record("a", tags=["web", "beta"], task_type="code"),
        record("b", time=NOON + DAY, cost_usd=None, tags=["web"]),
        record("c", time=NOON + DAY, model="large", cost_usd=0.004, reasoning_tokens=7),
        failed("c-1", time=NOON + DAY),
    )


def parsed(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, messages = result
    assert (code, messages) == (0, "")
    return dict(json.loads(out))


def cells(out: str) -> list[list[str]]:
    """The table's rows, without its rules and the sentences below it."""
    return [line.split() for line in out.splitlines() if line.strip() and not line.startswith((" ─", "-"))]


# costs


def test_costs_of_a_log_are_a_table_with_a_total(run: Run, log: str) -> None:
    code, out, _ = run("costs", log, "--by", "model")
    rows: dict[str, list[str]] = {}
    for name, *values in cells(out):  # a row has its line in each of the two parts
        rows.setdefault(name, []).extend(values)
    assert code == 0
    assert rows["large"][:6] == ["1", "0", "$0.0040", "$0.0040", "$0.00", "0.0"]
    assert rows["small"][:6] == ["2", "1", "$0.0010", "$0.0080", "$0.0030", "75.0"]
    assert rows["total"] == "3 1 $0.0050 $0.012 $0.0030 37.5 % 1 30 0 60 7 0.5 s 0.5 s".split()


def test_the_table_says_what_its_figures_are(run: Run, log: str) -> None:
    _, out, _ = run("costs", log, "--by", "tag", "--by", "day", "--timezone", "Europe/Berlin")
    assert [line for line in out.splitlines() if line.startswith("- ")] == [
        "- always strong: the estimated cost with large, from the time of each call",
        "- saved: over the 2 of 3 calls whose cost and estimate are both known",
        "- no sum includes the unknown cost of 1 call(s)",
        "- failed attempts returned no whole answer; their $0.00 count in the cost but not in the "
        "saving; 1 of them reported no cost",
        "- a call with several tags counts under each of them; the total counts each call once",
        "- days and months are those of Europe/Berlin",
    ]


def test_without_a_grouping_the_table_is_the_total(run: Run, log: str) -> None:
    assert ["3", "1", "$0.0050", "$0.012", "$0.0030", "37.5", "%", "1"] in cells(run("costs", log)[1])


def test_costs_as_json_hold_the_same_figures(run: Run, log: str) -> None:
    result = parsed(run("costs", log, "--by", "tag", "--json"))
    calls = {line["group"]["tag"]: line["calls"] for line in result["groups"]}
    assert calls == {"web": 2, "beta": 1, None: 1}
    assert (result["total"]["calls"], result["total"]["unknown_cost"], result["total"]["compared"]) == (
        3,
        1,
        2,
    )
    assert (result["log"], result["by"], result["timezone"], result["since"]) == (log, ["tag"], "UTC", None)
    assert (result["baseline_models"], len(result["notes"])) == (["large"], 5)


def test_several_groupings_are_members_of_a_group(run: Run, log: str) -> None:
    result = parsed(run("costs", log, "--by", "day", "--by", "model", "--json"))
    assert [line["group"] for line in result["groups"]] == [
        {"day": "2026-09-14", "model": "small"},
        {"day": "2026-09-15", "model": "large"},
        {"day": "2026-09-15", "model": "small"},
    ]


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        pytest.param(["--since", "2026-09-15"], 2, id="from a day on"),
        pytest.param(["--until", "2026-09-14"], 1, id="to the end of a day"),
        pytest.param(["--since", "2026-09-14", "--until", "2026-09-15"], 3, id="whole days"),
        pytest.param(["--until", "2026-09-14T12:00:00"], 0, id="before a moment"),
        pytest.param(["--since", "2026-09-14T12:00:00Z"], 3, id="from a moment on"),
        pytest.param(
            ["--since", "2026-09-15T21:30", "--timezone", "Asia/Tokyo"], 0, id="in another time zone"
        ),
    ],
)
def test_a_part_of_the_log_is_added_up(run: Run, log: str, options: list[str], calls: int) -> None:
    assert parsed(run("costs", log, *options, "--json"))["total"]["calls"] == calls


@pytest.mark.parametrize("name", STORES)
def test_every_file_that_the_runtime_writes_has_its_costs(run: Run, tmp_path: Path, name: str) -> None:
    result = parsed(run("costs", write_log(tmp_path / name, record(), failed()), "--json"))
    assert (result["total"]["calls"], result["total"]["failed_attempts"]) == (1, 1)


def test_a_server_has_its_costs_and_its_password_is_not_shown(run: Run, postgres: Postgres) -> None:
    log = write_log(postgres.new_database("costs"), record(), failed())
    result = parsed(run("costs", log, "--json"))
    assert result["total"]["calls"] == 1
    assert result["log"] == f"postgresql://127.0.0.1:{postgres.port}/costs"


@pytest.mark.parametrize("name", STORES)
def test_an_empty_log_is_a_sentence(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "calls.jsonl").touch()
    give(tmp_path / "calls.db", early=(True, None))
    assert run("costs", name) == (0, f"{name} holds no call yet\n", "")


def test_a_time_without_calls_is_a_sentence(run: Run, log: str) -> None:
    assert run("costs", log, "--until", "2020-01-01") == (
        0,
        f"{log} holds no call in this period\n",
        "",
    )


def test_an_empty_log_as_json_is_nothing_and_no_error(run: Run, tmp_path: Path) -> None:
    give(tmp_path / "calls.db", early=(True, None))
    result = parsed(run("costs", "calls.db", "--by", "model", "--json"))
    assert (result["groups"], result["total"]["calls"], result["total"]["saved_share"]) == ([], 0, None)


def test_names_that_look_like_markup_are_names(run: Run, tmp_path: Path) -> None:
    out = run("costs", write_log(tmp_path / "calls.db", record(model="[red]x")), "--by", "model")[1]
    assert "[red]x" in out


def test_a_name_holds_no_codes_for_the_terminal(run: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", record(session_id="a\x1b[31mb", baseline_model="c\x1b[2Jd"))
    out = run("costs", log, "--by", "session")[1]
    assert "a\N{REPLACEMENT CHARACTER}[31mb" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["gone.db"], r"error: gone.db: no such call log", id="no file"),
        pytest.param(["calls.txt"], "error: 'calls.txt' is not the address of a call log", id="no log"),
        pytest.param(
            ["postgresql://me:hush@127.0.0.1:1/x"],
            "error: postgresql://127.0.0.1:1/x: can't be read",
            id="no server",
        ),
        pytest.param(["calls.db", "--by", "hour"], "error: --by 'hour': it is one of day, month", id="by"),
        pytest.param(["calls.db", "--since", "soon"], "error: --since 'soon': write a day or a", id="since"),
        pytest.param(["calls.db", "--until", "9999-12-31"], "error: --until '9999-12-31'", id="the last day"),
        pytest.param(["calls.db", "--timezone", "Mars"], "error: --timezone 'Mars': unknown time", id="zone"),
        pytest.param(["calls.db", "--timezone", "../x"], "error: --timezone '../x'", id="zone as a path"),
    ],
)
def test_what_can_not_be_asked_ends_in_one_line_and_exit_code_1(
    run: Run, log: str, arguments: list[str], message: str
) -> None:
    code, out, messages = run("costs", *arguments)
    assert (code, out, messages.count("\n")) == (1, "", 1)
    assert messages.startswith(message)
    assert "hush" not in messages


def test_a_narrow_terminal_gets_two_tables(log: str) -> None:
    command = [sys.executable, "-m", "router.cli", "costs", log, "--by", "model"]
    reader, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    subprocess.run(command, stdout=terminal, stderr=subprocess.DEVNULL, env=environment, check=True)
    os.close(terminal)
    out = os.read(reader, 1 << 16).decode()
    os.close(reader)
    tables = out[: out.index("- always strong")]
    assert tables.count("total") == 2
    assert max(map(len, tables.splitlines())) <= 80


def test_output_that_is_no_terminal_has_every_column_within_100_characters(run: Run, log: str) -> None:
    code, out, _ = run("costs", log, "--by", "model", "--by", "day", "--by", "source")
    tables = out[: out.index("- always strong")]
    assert code == 0
    assert {"attempts", "share", "reasoning", "cached"} <= set(tables.split())
    assert max(map(len, tables.splitlines())) <= 100


# feedback


def outcomes(log: str) -> dict[str, tuple[Json, Json]]:
    return {row["call_id"]: (row["success"], row["score"]) for row in read_rows(log)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(["--success"], (True, None), id="success"),
        pytest.param(["--failure"], (False, None), id="failure"),
        pytest.param(["--score", "0.8"], (None, 0.8), id="a score"),
        pytest.param(["--score", "0", "--failure"], (False, 0.0), id="both"),
    ],
)
def test_feedback_on_one_call_is_stored_and_nothing_is_said(
    run: Run, log: str, options: list[str], expected: tuple[Json, Json]
) -> None:
    assert run("feedback", log, "a", *options) == (0, "", "")
    assert outcomes(log)["a"] == expected


def test_the_source_of_feedback_is_kept(run: Run, log: str) -> None:
    run("feedback", log, "a", "--success", "--source", "support team")
    assert next(row for row in read_rows(log) if row["call_id"] == "a")["outcome_source"] == "support team"


def test_feedback_on_a_call_that_is_not_there_is_stored_and_said(run: Run, log: str) -> None:
    code, _, messages = run("feedback", log, "later", "--success")
    assert (code, messages) == (0, "no call 'later' in the log; its feedback is stored nevertheless\n")
    write_log(log, record("later"))
    assert outcomes(log)["later"] == (True, None)


def test_feedback_is_read_from_standard_input(run: Run, log: str) -> None:
    lines = b'{"call_id": "a", "success": true}\n{"call_id": "b", "score": 0.5, "source": "judge"}\n'
    code, out, messages = run("feedback", log, stdin=lines)
    assert (code, out) == (0, "")
    assert messages == "2 feedback(s) stored, 0 of them for calls that are not in the log\n"
    assert outcomes(log) == {"a": (True, None), "b": (None, 0.5), "c": (None, None), "c-1": (None, None)}


def test_bad_lines_are_named_and_the_others_stored(run: Run, log: str) -> None:
    code, _, messages = run("feedback", log, stdin=b'nonsense\n{"call_id": "a", "success": true}\n{}\n')
    assert code == 3
    assert "line 1: not valid JSON" in messages
    assert "line 3: call_id must be a text" in messages
    assert messages.endswith("2 line(s) can't be read\n")
    assert outcomes(log)["a"] == (True, None)


def test_of_many_unknown_calls_the_first_are_named_and_all_are_counted(run: Run, log: str) -> None:
    lines = b"".join(b'{"call_id": "x%d", "success": true}\n' % number for number in range(1200))
    code, _, messages = run("feedback", log, stdin=lines)
    assert (code, messages.count("no call 'x")) == (0, 10)
    assert messages.endswith("1200 feedback(s) stored, 1200 of them for calls that are not in the log\n")


def test_no_lines_are_no_feedback(run: Run, log: str) -> None:
    assert run("feedback", log, stdin=b"")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["calls.db", "a"], "has neither success nor score; give one", id="no outcome"),
        pytest.param(["calls.db", "a", "--score", "8"], "score must be a number from 0 to 1", id="score"),
        pytest.param(["calls.db", "", "--success"], "call_id must be a text", id="no name"),
        pytest.param(["calls.db", "--success"], "need a CALL_ID", id="no call"),
        pytest.param(["gone.db", "a", "--success"], "gone.db: no such call log", id="no log"),
    ],
)
def test_feedback_that_says_nothing_is_refused(
    run: Run, log: str, arguments: list[str], message: str
) -> None:
    code, out, messages = run("feedback", *arguments)
    assert (code, out, messages.count("\n")) == (1, "", 1)
    assert message in messages


def test_a_terminal_is_not_waited_for(run: Run, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _, messages = run("feedback", log)
    assert (code, messages.startswith("error: give a CALL_ID, or feedback on standard input")) == (1, True)


def test_feedback_that_can_not_be_written_is_exit_code_1(
    run: Run, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "WRITE_S", 0.2)
    blocker = sqlite3.connect(log)
    blocker.execute("BEGIN IMMEDIATE")
    code, _, messages = run("feedback", log, "a", "--success")
    blocker.close()
    assert code == 1
    assert "calls.db: 1 feedback(s) could not be written (0 were); give them again" in messages


def test_the_help_of_costs_names_every_grouping(run: Run) -> None:
    out = run("costs", "--help")[1]
    assert all(name in out for name in GROUPINGS)
