from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import router.cli  # noqa: F401 - adds the commands
import training.commands  # noqa: F401 - adds the commands
from router.cli.console import app
from router.errors import CallLogError, ConfigError
from router.settings.sections import Config
from router.version import Version
from tests.training.logs import call, write_lines
from training import watching
from training.pipeline import Trained
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions
from training.tracking.versions import CHAMPION, Move, RouterRegistry
from training.watching import OTHER, Watched, WatchJob, watch_router

START = datetime(2026, 1, 1, tzinfo=UTC)
FORECAST = {"confidence": 0.9, "expected_cost_usd": 0.002, "decision_source": "learned"}


class Log:
    """Calls of one version, one a minute."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.model = version.models[0]
        self.task = version.manifest["features"]["task_types"][0]
        self.rows: list[dict[str, Any]] = []
        self.rng = np.random.default_rng(0)

    def add(self, number: int, chance: float = 0.9, factor: float = 1.0, **fields: object) -> Log:
        for _ in range(number):
            at = len(self.rows)
            row = {
                **FORECAST,
                "time": (START + timedelta(minutes=at)).isoformat(),
                "task_type": self.task,
                "policy_version": self.version.policy_version,
                "success": bool(self.rng.random() < chance),
                "cost_usd": 0.002 * factor * float(self.rng.gamma(2.0, 0.5)),
            }
            self.rows.append(call(prompt=f"number {at}", **{"model": self.model, **row, **fields}))
        return self


@pytest.fixture
def log(version: Version) -> Log:
    return Log(version)


@pytest.fixture
def job(version: Version, tmp_path: Path) -> WatchJob:
    reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=tmp_path)
    return WatchJob(
        sources=[], reading=reading, version=version, router="models:/sample@champion", name="sample"
    )


def watched(job: WatchJob, log: Log, quiet: Reporter) -> Watched:
    path = job.reading.cache / "calls.jsonl"
    return watch_router(replace(job, sources=[write_lines(path, *log.rows)]), quiet)


def alarms(result: Watched) -> set[tuple[str, str | None, str | None]]:
    return {(one.kind, one.model, one.task_type) for one in result.alarms}


def test_calls_as_forecast_are_quiet(job: WatchJob, log: Log, quiet: Reporter) -> None:
    log.add(900).add(100, decision_source="rule")
    result = watched(job, log, quiet)
    assert (alarms(result), result.own_calls, result.worse) == (set(), 1000, False)
    assert result.stepped_aside == pytest.approx(0.1)


def test_a_model_that_drops_20_points_on_one_task_type_is_found_within_300_calls(
    job: WatchJob, log: Log, quiet: Reporter
) -> None:
    other = log.version.models[1]
    for _ in range(30):
        log.add(20).add(20, model=other)
    for _ in range(30):
        log.add(10, chance=0.7).add(20, model=other).add(20, task_type="nobody's")
    result = watched(job, log, quiet)
    assert ("success", log.model, log.task) in alarms(result)
    assert not {(model, task) for kind, model, task in alarms(result) if kind == "success"} - {
        (log.model, log.task)
    }
    found = next(one for one in result.alarms if one.kind == "success")
    assert found.p_value is not None
    assert found.p_value <= watching.ALPHA
    assert found.next.startswith("pointsman retrain ")
    assert found.next.endswith(" --register sample")


def test_a_router_that_is_worse_as_a_whole_is_worth_a_rollback(
    job: WatchJob, log: Log, quiet: Reporter
) -> None:
    result = watched(job, log.add(400, chance=0.6, task_type=None), quiet)
    assert result.worse
    assert alarms(result) == {("router", None, None), ("success", log.model, OTHER)}
    assert result.alarms[0].next == "pointsman rollback sample"
    assert watched(replace(job, name=None), log, quiet).alarms[0].next.startswith("pointsman train ")


@pytest.mark.parametrize(
    ("first", "then", "alarm"),
    [
        ("{}", "{}-2025-08-07", False),
        ("{}-2025-08-07", "openai/{}", False),
        ("{}", "{}:latest", False),
        ("{}-2025-08-07", "{}-2026-01-01", True),
        ("{}", "{}-mini", True),
    ],
)
def test_a_name_that_may_mean_what_was_served_before_is_no_alarm(
    job: WatchJob, log: Log, quiet: Reporter, first: str, then: str, alarm: bool
) -> None:
    log.add(60, served_model=first.format(log.model)).add(40, served_model=then.format(log.model))
    assert any(one.kind == "served" for one in watched(job, log, quiet).alarms) is alarm


def test_answers_that_name_another_model_than_before_are_an_alarm_and_from_the_first_on_a_note(
    job: WatchJob, log: Log, quiet: Reporter
) -> None:
    log.add(100, served_model=f"openai/{log.model}").add(20)
    assert watched(job, log, quiet).findings == []
    log.add(60, model=log.version.models[1], served_model="something-else")
    (note,) = watched(job, log, quiet).findings
    assert (note.kind, note.model, note.alarm) == ("served", log.version.models[1], False)
    log.add(25, served_model="a-small-one")
    found = next(one for one in watched(job, log, quiet).alarms if one.kind == "served")
    assert (
        found.sentence
        == f"{log.model}: 20.0 % of 125 answers name 'a-small-one' since 2026-01-01 03:00 (UTC)"
    )
    assert found.next.startswith("pointsman retrain ")


@pytest.mark.parametrize(("factor", "kinds"), [(0.5, set()), (1.2, set()), (2.5, {"cost"})])
def test_dearer_calls_are_found_whatever_the_tail(
    job: WatchJob, log: Log, quiet: Reporter, factor: float, kinds: set[str]
) -> None:
    assert {kind for kind, _, _ in alarms(watched(job, log.add(600, factor=factor), quiet))} == kinds


def test_calls_of_other_versions_and_without_outcome_say_nothing(
    job: WatchJob, log: Log, quiet: Reporter
) -> None:
    log.add(300, chance=0.0, policy_version="another").add(300, success=None, cost_usd=None)
    result = watched(job, log, quiet)
    assert (result.calls, result.own_calls, alarms(result)) == (600, 300, set())
    nothing = watched(job, Log(log.version).add(5, policy_version=None), quiet)
    assert (nothing.own_calls, math.isnan(nothing.stepped_aside)) == (0, True)


def test_a_log_without_forecasts_is_refused(job: WatchJob, log: Log, quiet: Reporter) -> None:
    with pytest.raises(CallLogError, match=r"5 calls of .*, none with a confidence"):
        watched(job, log.add(5, confidence=None), quiet)


def test_a_price_that_moved_is_a_note_and_no_alarm(
    job: WatchJob, log: Log, quiet: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = job.version.prices[log.model]
    dearer = replace(own, per_input_token=1.0, per_output_token=1.0, per_call=0.0)
    monkeypatch.setattr(watching, "listed_price", lambda *names: dearer if log.model in names else None)
    result = watched(job, log.add(20, input_tokens=10, output_tokens=10), quiet)
    assert [(one.kind, one.model, one.alarm) for one in result.findings] == [("price", log.model, False)]
    assert "LiteLLM's list price" in result.findings[0].sentence


def run(trained: Trained, log: str, *options: str, router: str = "models:/sample@champion") -> Any:  # noqa: ANN401
    words = ["watch", log, "--router", router, "--tracking-uri", trained.published.tracking_uri, "--json"]
    result = CliRunner().invoke(app, [*words, *options])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout)


def test_the_command_tells_by_its_exit_code_and_rolls_back_on_demand(
    trained: Trained, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = RouterRegistry(trained.published.tracking_uri)
    monkeypatch.setattr(RouterRegistry, "load", lambda *_: log.version)
    moves: list[str] = []

    def rollback(self: RouterRegistry, name: str, alias: str, *, seen: str) -> Move:
        moves.append(f"{name}@{alias} from {seen}")
        return Move.of(alias, "0", seen)

    monkeypatch.setattr(RouterRegistry, "rollback", rollback)
    registry.move("sample", CHAMPION, "1", seen=registry.pointed("sample", CHAMPION))
    good = write_lines(tmp_path / "good.jsonl", *log.add(300).rows)
    assert run(trained, good, "--roll-back")[0] == 0
    bad = write_lines(tmp_path / "bad.jsonl", *Log(log.version).add(400, chance=0.5).rows)
    code, told = run(trained, bad)
    assert (code, told["findings"][0]["kind"], told["move"], moves) == (6, "router", None, [])
    assert run(trained, bad, "--roll-back")[0] == 6
    assert moves == ["sample@champion from 1"]
    tags = registry.versions("sample")[-1].tags
    assert tags[watching.DECISION].startswith("@champion moved back to version 0, 20")
    assert tags[watching.REASONS].startswith("all calls: succeeds on ")
    other = write_lines(tmp_path / "other.jsonl", *Log(log.version).add(5, policy_version=None).rows)
    words = ["--router", "models:/sample@champion", "--tracking-uri", trained.published.tracking_uri]
    told_nothing = CliRunner().invoke(app, ["watch", other, *words])
    assert "so they can't tell whether it does as forecast" in told_nothing.stderr
    assert "are as forecast" not in told_nothing.stderr
    assert "next: pointsman watch SERVED_CALLS --router models:/sample@champion" in told_nothing.stderr
    with pytest.raises(ConfigError, match="--roll-back moves an alias"):
        run(trained, bad, "--roll-back", router=str(trained.out))
