from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

import router.cli  # noqa: F401 - adds the commands
import training.commands  # noqa: F401 - adds the commands
from router.cli.console import app
from router.loading.artifact import CHANGED_FORMAT
from router.records import Json, Request
from router.settings.yaml_file import load_config
from router.version import Version
from tests.services.provider import KEY, Provider, answer, provider
from tests.training.replaying.replay_calls import KEY_VARIABLE
from training.commands.membership import show_member
from training.learning.router_folder import runner_up_of
from training.tracking.versions import RouterRegistry

__all__ = ["provider"]

NEW = "newcomer@low"
PROMPTS = 60
REQUESTS = [Request.of(f"Summarise ticket {n} in one line.", task_type="support") for n in range(40)]

Command = Callable[..., tuple[int, Json, str]]


@pytest.fixture
def command(
    tmp_path: Path,
    sample_log: Path,
    router_folder: Path,
    encoder_cache: Path,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """Run a command of membership: exit code, its JSON, messages. The newcomer is the tests' provider."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.chdir(tmp_path)
    provider.script("newcomer", *[answer("Cut", finish_reason="length")] * 15, answer("A good line."))
    settings = {
        "models": {
            "newcomer": {
                "api_base": provider.api_base,
                "api_key_env": KEY_VARIABLE,
                "litellm_model": "openai/newcomer",
                "price": {"input_usd_per_million": 0.1, "output_usd_per_million": 0.2},
            }
        },
        "outcomes": {"rules": [{"feedback": {}}, {"finish_reason": {}}, {"otherwise": {"success": True}}]},
    }
    (tmp_path / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")

    def run(name: str, model: str, *options: object, router: object = router_folder) -> tuple[int, Json, str]:
        words: list[object] = [
            *(name, model, "--router", router, "--log", sample_log, "--config", "settings.yaml", "--json"),
            *("--cache", encoder_cache, "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", *options),
        ]
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, json.loads(result.stdout or "null"), result.stderr

    return run


def added(command: Command, *options: object) -> tuple[int, Json, str]:
    terms = {"--budget": 1, "--prompts": PROMPTS, "--max-tokens": 20, "--concurrency": 1}
    words = [word for pair in terms.items() for word in pair]
    return command("add-model", NEW, "--out", "grown", *words, *options)


def arrays(version: Version, models: tuple[str, ...]) -> list[np.ndarray[Any, Any]]:
    """The forecasts for some of a router's models."""
    forecast = version.forecast(REQUESTS)
    columns = [version.models.index(model) for model in models]
    return [forecast.probability[:, columns], forecast.cost[:, columns], forecast.familiarity]


def tells(registry: RouterRegistry, number: str) -> bool:
    """Whether the page of a version says what joined, what comes next and how to load it."""
    found = MlflowClient(registry.tracking_uri).get_model_version("support", number)
    assert found.tags["added"] == NEW
    words = (f"**{NEW} is added, fitted on {PROMPTS} outcomes; not compared yet.**", "`pointsman compare ")
    return all(
        one in (found.description or "") for one in (*words, f'Router.load("models:/support/{number}")')
    )


def test_a_model_joins_and_leaves_and_no_other_forecast_moves(
    command: Command, router_folder: Path, provider: Provider, tmp_path: Path
) -> None:
    version = Version.load(router_folder, load_config(tmp_path / "settings.yaml"))
    code, result, _ = added(command, "--yes", "--register", "support", "--alias", "challenger")
    grown = Version.load(tmp_path / "grown")
    assert (code, result["outcomes"], result["parent"]) == (0, PROMPTS, version.policy_version)
    assert grown.models == (*version.models, NEW)
    assert grown.manifest["format_version"] == CHANGED_FORMAT
    assert grown.manifest["parent"] == {"policy_version": version.policy_version, "digest": version.digest}
    assert grown.manifest["actions"][NEW] == {"model": "newcomer", "effort": "low"}
    assert runner_up_of(grown) is None
    for before, after in zip(arrays(version, version.models), arrays(grown, version.models), strict=True):
        assert np.array_equal(before, after)
    assert provider.requests[0].body["reasoning_effort"] == "low"
    assert len(grown.training_keys() - version.training_keys()) <= PROMPTS
    assert 0.6 < grown.forecast(REQUESTS).probability[:, -1].mean() < 0.95

    effect = result["effect"]
    assert effect["prompts"] > PROMPTS
    assert effect["share"]["low"] <= effect["share"]["value"] <= effect["share"]["high"]
    assert effect["share"]["value"] > 0
    assert effect["usd_per_call"][0] < effect["usd_per_call"][1]

    registry = RouterRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert registry.pointed("support", "challenger") == result["published"]["version"]
    (registered,) = registry.versions("support")
    assert registered.tags["parent_policy_version"] == version.policy_version
    assert tells(registry, registered.version)

    again = added(command, "--yes")
    assert (again[1]["policy_version"], len(provider.requests)) == (result["policy_version"], PROMPTS)

    code, _, _ = command("remove-model", NEW, "--out", "shrunk", router="grown")
    shrunk = Version.load(tmp_path / "shrunk")
    assert (code, shrunk.models) == (0, version.models)
    for before, after in zip(arrays(version, version.models), arrays(shrunk, version.models), strict=True):
        assert np.array_equal(before, after)
    assert [one["change"] for one in shrunk.manifest["membership"]] == ["added", "removed"]


@pytest.mark.parametrize(("logs", "shown"), [(["my calls"], "'my calls'"), ([], "CALLS")])
def test_a_change_ends_with_the_comparison_to_run(
    monkeypatch: pytest.MonkeyPatch, logs: list[str], shown: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr("training.commands.membership.say", said.append)
    member: Any = SimpleNamespace(
        model=NEW, change="removed", outcomes=0, out=Path("less"), policy_version="b", parent="a",
        effect=None, published=None,
    )  # fmt: skip
    show_member(member, logs, as_json=False)
    assert said[-1] == f"next: pointsman compare {shown} --router less --out report"


def test_a_dry_run_shows_plan_and_price_and_calls_nobody(
    command: Command, provider: Provider, tmp_path: Path
) -> None:
    code, plan, _ = added(command, "--dry-run")
    assert (code, plan["calls"], list(plan["models"])) == (0, PROMPTS, [NEW])
    assert 0 < plan["expected_usd"] <= plan["at_most_usd"]
    assert (provider.requests, (tmp_path / "grown").exists()) == ((), False)


def test_a_models_own_prompts_go_elsewhere_when_it_leaves(
    command: Command, version: Version, tmp_path: Path
) -> None:
    model = version.policy.best_single
    code, result, _ = command("remove-model", model, "--out", "shrunk")
    shrunk = Version.load(tmp_path / "shrunk")
    left = tuple(name for name in version.models if name != model)
    assert (code, shrunk.models, result["change"], result["outcomes"]) == (0, left, "removed", 0)
    assert shrunk.policy.best_single in left
    assert np.array_equal(arrays(version, left)[0], arrays(shrunk, left)[0])
    assert result["effect"]["share"]["value"] > 0


@pytest.mark.parametrize(
    ("name", "model", "options", "says"),
    [
        pytest.param("add-model", "gpt-5", ("--budget", 1), "has 'gpt-5' already", id="known"),
        pytest.param("add-model", "no/price", ("--budget", 1), "no price is known", id="no price"),
        pytest.param("remove-model", "gpt-6", (), "'gpt-6' can't leave", id="unknown"),
        pytest.param(
            "add-model", NEW, ("--budget", 1, "--alias", "a"), "--register", id="alias without a name"
        ),
        pytest.param(
            "add-model", NEW, ("--budget", 0, "--yes"), "the budget pays for about 0", id="no budget"
        ),
    ],
)
def test_what_can_not_be_done_is_refused_before_anything_is_written(
    command: Command, tmp_path: Path, name: str, model: str, options: tuple[object, ...], says: str
) -> None:
    with pytest.raises(Exception, match=says):
        command(name, model, "--out", "new", *options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rules", [[], [{"feedback": {}}, {"finish_reason": {}}]])
def test_nothing_is_paid_for_answers_that_nobody_would_grade(
    command: Command, provider: Provider, tmp_path: Path, rules: list[Json]
) -> None:
    settings = json.loads((tmp_path / "settings.yaml").read_text(encoding="utf-8"))
    settings["outcomes"]["rules"] = rules
    (tmp_path / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(Exception, match="nothing would tell whether"):
        added(command, "--yes")
    assert provider.requests == ()
    assert added(command, "--dry-run")[0] == 0


def test_a_judge_among_the_rules_grades_the_answers_afterwards(
    command: Command, provider: Provider, tmp_path: Path
) -> None:
    settings = json.loads((tmp_path / "settings.yaml").read_text(encoding="utf-8"))
    settings["outcomes"]["rules"] = [{"judge": {"model": "gpt-5"}}]
    (tmp_path / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(Exception, match=r"0 with a known outcome.*import grown\.replayed\.jsonl --judge"):
        added(command, "--yes")
    assert len(provider.requests) == PROMPTS


def test_a_folder_of_somebody_else_is_refused_before_the_calls(
    command: Command, provider: Provider, tmp_path: Path
) -> None:
    (tmp_path / "grown").mkdir()
    (tmp_path / "grown" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(Exception, match="grown"):
        added(command, "--yes")
    assert provider.requests == ()


def test_a_promise_holds_for_the_models_that_were_trained(command: Command, tmp_path: Path) -> None:
    settings = json.loads((tmp_path / "settings.yaml").read_text(encoding="utf-8"))
    settings["objective"] = {"max_quality_loss": 0.05}
    (tmp_path / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(Exception, match="is promised for the models"):
        added(command, "--yes")
