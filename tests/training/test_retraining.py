from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import router.cli  # noqa: F401 - adds the commands
import training.commands  # noqa: F401 - adds the commands
from router.cli.console import app
from router.errors import ConfigError
from router.loading.artifact import read_manifest
from router.settings.sections import Promotion
from router.settings.yaml_file import parse_config
from tests.training.comparing.report import reports
from tests.training.logs import write_lines
from tests.training.test_pipeline import synthetic_calls
from training.commands.retraining import after_decision
from training.comparing.evaluated import Comparison, PolicyResult
from training.learning import material
from training.pipeline import TrainJob
from training.progress import Reporter
from training.retraining import DECISION, REASONS, GateResult, decision_of, gate_results, today_of
from training.statistics.intervals import UNKNOWN
from training.tracking.publish import RunRecord, publish
from training.tracking.versions import CHALLENGER, CHAMPION, RouterRegistry

LENIENT = "promotion: {least_prompts: 30, max_quality_loss: 0.3, max_calibration_error: 0.9, worse_slices: 9}"
SETTINGS = "training: {estimator: success, min_calls: 20, test_share: 0.25}\n"
NEVER = "promotion: {least_prompts: 30, min_saving: 0.99}"


def failed(comparison: Comparison, **gates: float) -> set[str]:
    settings = Promotion.model_validate({"max_calibration_error": 1.0, "worse_slices": 99, **gates})
    return {one.name for one in gate_results(comparison, settings) if not one.holds}


def against(**change: object) -> Comparison:
    """The exact report with a policy of today whose figures are changed."""
    whole = reports.exact()

    def changed(one: PolicyResult) -> PolicyResult:
        return replace(one, **change) if one.name == whole.reference else one  # type: ignore[arg-type]

    return replace(whole, policies=tuple(map(changed, whole.policies)))


@pytest.mark.parametrize(
    ("comparison", "gates", "names"),
    [
        pytest.param(
            against(
                success_difference=reports.difference(0.0, 0.005),
                cost_ratio=reports.difference(0.8, 0.1, reference=1),
            ),
            {},
            set(),
            id="no worse and cheaper",
        ),
        pytest.param(
            against(success_difference=reports.difference(0.0, 0.02)),
            {"min_saving": -10},
            {"max_quality_loss"},
            id="the lower end counts",
        ),
        pytest.param(
            against(
                success_difference=reports.difference(0.1, 0.02),
                cost_ratio=reports.difference(0.9, 0.2, reference=1),
            ),
            {},
            {"min_saving"},
            id="a saving that is not shown",
        ),
        pytest.param(
            against(
                success_difference=reports.difference(0.1, 0.02),
                cost_ratio=reports.difference(1.1, 0.05, reference=1),
            ),
            {"min_saving": -0.2},
            set(),
            id="a dearer one is allowed",
        ),
        pytest.param(
            against(success_difference=reports.UNKNOWN_DIFFERENCE, cost_ratio=reports.UNKNOWN_DIFFERENCE),
            {"max_quality_loss": 1.0, "min_saving": -10},
            {"max_quality_loss", "min_saving"},
            id="unknown figures fail",
        ),
        pytest.param(
            replace(
                against(
                    success_difference=reports.difference(0.0, 0.0),
                    cost_ratio=reports.difference(1.0, 0.0, reference=1),
                ),
                clusters=29,
            ),
            {"least_prompts": 30},
            {"least_prompts"},
            id="too few prompts",
        ),
    ],
)
def test_a_gate_holds_only_where_its_figure_is_known_and_within_the_limit(
    comparison: Comparison, gates: dict[str, float], names: set[str]
) -> None:
    assert failed(comparison, **gates) == names


def test_slices_and_calibration_are_gates_of_their_own() -> None:
    whole = against(
        success_difference=reports.difference(0.1, 0.02),
        cost_ratio=reports.difference(0.5, 0.1, reference=1),
    )
    worse = replace(whole, slices=(reports.slice_("task type", "code", 300, -0.2),))
    assert failed(worse, worse_slices=0) == {"worse_slices"}
    assert failed(worse, worse_slices=1) == set()
    assert failed(whole, max_calibration_error=0.0) == {"max_calibration_error"}
    silent = replace(whole.calibration, expected_calibration_error=float("nan"))
    assert failed(replace(whole, calibration=silent)) == {"max_calibration_error"}


def test_every_case_of_a_report_has_all_gates_with_a_reason() -> None:
    for case in (reports.exact(), reports.off_policy(), reports.unknown_costs(), reports.one_model()):
        found = list(gate_results(case, Promotion()))
        assert [one.name for one in found] == list(Promotion.model_fields)
        assert all(one.reason for one in found)
        if today_of(case).success_difference.interval is UNKNOWN:
            assert not found[1].holds


@pytest.mark.parametrize(
    ("failing", "forced", "decision"),
    [
        pytest.param([], False, "promoted", id="all hold"),
        pytest.param(["min_saving"], False, "gates_failed", id="one fails"),
        pytest.param(["least_prompts"], False, "kept", id="too few"),
        pytest.param(["min_saving", "least_prompts"], False, "kept", id="too few to say that one fails"),
        pytest.param(["min_saving", "least_prompts"], True, "promoted", id="the first one"),
    ],
)
def test_too_few_prompts_decide_nothing(failing: list[str], forced: bool, decision: str) -> None:
    gates = [GateResult(name=name, holds=name not in failing, reason="") for name in Promotion.model_fields]
    assert decision_of(gates, forced=forced) == decision


@pytest.mark.parametrize("wrong", ["least_prompts: 0", "min_saving: 1", "max_loss: 0.1", "worse_slices: -1"])
def test_wrong_gates_are_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.partition(":")[0]):
        parse_config(f"promotion: {{{wrong}}}")


class Routine:
    """Runs `pointsman retrain` on one log with one SQLite registry."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.registry = RouterRegistry(self.uri)
        self.log = write_lines(folder / "calls.jsonl", *synthetic_calls(160))

    def words(self, gates: str, *options: str, name: str = "support") -> list[str]:
        config = self.folder / "pointsman.yaml"
        config.write_text(SETTINGS + gates, encoding="utf-8")
        return [
            *("retrain", self.log, "--register", name, "--config", str(config), "--draws", "100"),
            *("--out", str(self.folder / "out"), "--cache", str(self.cache)),
            *("--tracking-uri", self.uri, "--json", *options),
        ]

    def __call__(self, gates: str, *options: str, name: str = "support") -> Result:
        result = CliRunner().invoke(app, self.words(gates, *options, name=name))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def champion(self, name: str = "support") -> str | None:
        return self.registry.pointed(name, CHAMPION)


@pytest.fixture(scope="module")
def routine(tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path) -> Iterator[Routine]:
    folder = tmp_path_factory.mktemp("routine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        yield Routine(folder, encoder_cache)


def test_the_routine_promotes_by_its_gates_alone(routine: Routine) -> None:
    refused = routine(NEVER)
    told = json.loads(refused.stdout)
    assert (refused.exit_code, told["decision"], routine.champion()) == (5, "gates_failed", None)
    assert routine.registry.pointed("support", CHALLENGER) == "1"
    assert not next(gate for gate in told["gates"] if gate["name"] == "min_saving")["holds"]

    first = routine(LENIENT)
    assert (first.exit_code, json.loads(first.stdout)["decision"]) == (0, "promoted")
    assert routine.champion() == "2"

    again = json.loads(routine(LENIENT).stdout)
    assert (again["against"], again["prompts"]) == ("models:/support/2", 40)
    assert (again["decision"], routine.champion()) == ("promoted", "3")

    latest, _, oldest = routine.registry.versions("support")
    assert (latest.tags[DECISION], oldest.tags[DECISION]) == ("promoted", "gates_failed")
    assert "min_saving failed: there is no champion" in oldest.tags[REASONS].replace("max_quality_loss, ", "")
    assert latest.to_json()["recommendation"]
    decision = (routine.folder / "out" / "decision.md").read_text(encoding="utf-8")
    assert "| min_saving | holds |" in decision
    assert json.loads((routine.folder / "out" / "decision.json").read_bytes())["challenger"] == "3"
    assert routine.registry.rollback("support").version == "2"


@pytest.mark.parametrize(
    ("decision", "comparison", "steps"),
    [
        pytest.param(
            "promoted",
            None,
            ["next: pointsman watch 'my calls' --router models:/support@champion"],
            id="promoted",
        ),
        pytest.param(
            "kept",
            None,
            [
                "next: pointsman retrain 'my calls' MORE_CALLS --register support --out out",
                "to promote it all the same: pointsman promote support 3",
            ],
            id="nothing to judge on",
        ),
        pytest.param(
            "gates_failed",
            SimpleNamespace(recommendation=SimpleNamespace(code="cannot_tell", next="pointsman replay x")),
            ["next: pointsman replay x", "to promote it all the same: pointsman promote support 3"],
            id="the log can't tell",
        ),
    ],
)
def test_a_decision_ends_with_the_next_step(decision: str, comparison: object, steps: list[str]) -> None:
    result: Any = SimpleNamespace(name="support", challenger="3", decision=decision, comparison=comparison)
    assert list(after_decision(result, Path("out"), ["my calls"])) == steps


def test_nothing_held_out_is_refused_before_training(routine: Routine, tmp_path: Path) -> None:
    config = tmp_path / "none.yaml"
    config.write_text("training: {test_share: 0}", encoding="utf-8")
    words = routine.words(LENIENT)
    words[words.index("--config") + 1] = str(config)
    with pytest.raises(ConfigError, match=r"training\.test_share 0"):
        raise CliRunner().invoke(app, words).exception or AssertionError


STEPS = [
    ("training.pipeline", "write_router"),
    ("training.pipeline", "publish"),
    ("training.retraining", "compare_on_log"),
    ("training.tracking.versions", "RouterRegistry.record"),
    ("mlflow", "MlflowClient.set_registered_model_alias"),
]
"""Functions of the routine's steps, in their order: the process is killed when one of them is called."""


TRAINED = STEPS[1]
"""Up to this one, the killed process trains; from then on, it publishes the router of the run before."""


def _published(job: TrainJob, reporter: Reporter) -> SimpleNamespace:
    assert job.register is not None
    record = RunRecord(params={}, metrics={})
    published = publish(job.out, record, job.tracking_uri, register=job.register)
    registry, version = RouterRegistry(job.tracking_uri), str(published.version)
    registry.move(job.register, CHALLENGER, version, seen=registry.pointed(job.register, CHALLENGER))
    return SimpleNamespace(manifest=read_manifest(job.out), published=published, warnings=())


def _run_until(step: tuple[str, str], words: list[str], folder: str) -> None:
    """In a process of its own: run the routine, and die at a step."""
    os.chdir(folder)
    sys.argv = ["pointsman", *words]
    material.GRAM_DIMENSIONS = 32
    place: Any = importlib.import_module(step[0])
    *path, name = step[1].split(".")
    for part in path:
        place = getattr(place, part)
    real: Callable[..., object] = getattr(place, name)

    if STEPS.index(step) > STEPS.index(TRAINED):
        retraining: Any = importlib.import_module("training.retraining")
        retraining.train = _published

    def die(*given: object, **named: object) -> object:
        if path and CHALLENGER in given:
            return real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    setattr(place, name, die)
    app(words)


def test_a_kill_at_any_step_leaves_the_champion_serving_and_the_next_run_whole(routine: Routine) -> None:
    name = "killed"
    first = routine(NEVER, "--first", name=name)
    assert (first.exit_code, routine.champion(name)) == (0, "1")
    for step in STEPS:
        words = routine.words(LENIENT, name=name)
        process = get_context("spawn").Process(target=_run_until, args=(step, words, str(routine.folder)))
        process.start()
        process.join()
        assert (process.exitcode, routine.champion(name)) == (-signal.SIGKILL, "1"), step
    result = routine(LENIENT, name=name)
    latest = routine.registry.versions(name)[0].version
    assert (result.exit_code, routine.champion(name)) == (0, latest)
    assert routine.registry.rollback(name).version == "1"
