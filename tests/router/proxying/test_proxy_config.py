from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from litellm.router_strategy.complexity_router.config import ComplexityRouterConfig

from router import cli
from router.deciding.limits import LimitCheck
from router.errors import ConfigError
from router.litellm_plugin import classifier
from router.proxying.proxy_config import ProxyPlan, as_yaml, dispensable, proxy_config, served_models
from router.records import Json
from router.settings.yaml_file import parse_config
from router.version import Version

LOCAL = "ollama/llama3.1"
SECRET = "sk-this-must-never-be-written"


def plan_for(version: Version, settings: str = "", **fields: Any) -> ProxyPlan:  # noqa: ANN401 - of ProxyPlan
    """A plan for the router under other settings."""
    changed = copy.copy(version)
    changed.config = parse_config(settings)
    changed.limits = LimitCheck(version.models, changed.config)
    return ProxyPlan(version=changed, router="models/demo", **fields)


def configured(version: Version, settings: str = "", **fields: Any) -> dict[str, Json]:  # noqa: ANN401 - of ProxyPlan
    return proxy_config(plan_for(version, settings, **fields))


def parameters(config: dict[str, Json], model: str) -> dict[str, Json]:
    (result,) = (one["litellm_params"] for one in config["model_list"] if one["model_name"] == model)
    return dict(result)


def tiers(config: dict[str, Json], alias: str = "smart") -> dict[str, Json]:
    return dict(parameters(config, alias)["complexity_router_config"])


def test_every_model_has_a_deployment_and_a_tier(version: Version) -> None:
    config = configured(version)
    names = [one["model_name"] for one in config["model_list"]]
    assert sorted(names) == sorted([*version.models, "smart"])
    assert tiers(config)["tiers"] == {model: model for model in version.models}
    assert [one["name"] for one in tiers(config)["tier_definitions"]] == names[:-1]


def test_litellm_takes_the_tiers(version: Version) -> None:
    result = tiers(configured(version))
    checked = ComplexityRouterConfig(**{**result, "classifier_plugin": classifier})
    assert {checked.resolve_classified_tier(model) for model in version.models} == set(version.models)


def test_litellm_decides_nothing_beside_us(version: Version) -> None:
    result = tiers(configured(version))
    for name in ("route_housekeeping_to_cheapest_tier", "context_compaction", "max_tokens_from_tier_model"):
        assert result[name] is False


def test_a_model_is_called_as_the_settings_say(version: Version) -> None:
    settings = """
models:
  gpt-5:
    litellm_model: azure/our-five
    api_base: https://five.example
    api_key_env: TEAM_KEY
    timeout_s: 20.0
    retries: 4
    price: {input_usd_per_million: 2.0, output_usd_per_million: 8.0}
"""
    assert parameters(configured(version, settings), "gpt-5") == {
        "model": "azure/our-five",
        "api_base": "https://five.example",
        "api_key": "os.environ/TEAM_KEY",
        "num_retries": 4,
        "timeout": 20.0,
        "stream_timeout": 20.0,
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "cache_read_input_token_cost": pytest.approx(2e-7),
    }


def test_a_model_without_settings_is_called_by_its_name(version: Version) -> None:
    result = parameters(configured(version, "calls: {timeout_s: 30.0}"), "gpt-4o")
    assert result == {"model": "gpt-4o", "timeout": 30.0, "stream_timeout": 30.0}


def test_no_secret_is_written(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", SECRET)
    settings = f"""
models:
  gpt-5: {{api_key_env: TEAM_KEY, parameters: {{extra_headers: {{authorization: {SECRET}}}}}}}
"""
    written = as_yaml(configured(version, settings), name="proxy.yaml", alias="smart")
    assert SECRET not in written
    assert "os.environ/TEAM_KEY" in written
    assert "os.environ/LITELLM_MASTER_KEY" in written


def test_denied_models_are_left_out(version: Version) -> None:
    config = configured(version, "limits: {deny: [gpt-4o]}")
    assert "gpt-4o" not in str(config["model_list"]) + str(config["router_settings"])


def test_an_air_gapped_proxy_knows_local_models_only(version: Version) -> None:
    settings = "limits: {local_only: true}\nmodels: {gpt-5: {local: true}}"
    plan = plan_for(version, settings)
    assert served_models(plan.version) == ("gpt-5", LOCAL)
    assert [one["model_name"] for one in proxy_config(plan)["model_list"]] == ["gpt-5", LOCAL, "smart"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param("rules: {default: gpt-4o}", "gpt-4o", id="the rule table's default"),
        pytest.param("", "gpt-5", id="else the best single model"),
        pytest.param("limits: {deny: [gpt-5]}", "gpt-4.1-mini", id="else the likeliest to succeed"),
    ],
)
def test_what_we_decline_goes_to(version: Version, settings: str, expected: str) -> None:
    config = configured(version, settings)
    assert tiers(config)["fallback_tier"] == expected
    assert parameters(config, "smart")["complexity_router_default_model"] == expected


def test_after_each_model_the_others_are_tried_the_likeliest_to_succeed_first(version: Version) -> None:
    result = configured(version)["router_settings"]
    chains = {model: chain for one in result["fallbacks"] for model, chain in one.items()}
    assert chains["gpt-4o"] == ["gpt-5", "gpt-4.1-mini", LOCAL]
    assert result["max_fallbacks"] == 3


def test_configured_chains_come_first(version: Version) -> None:
    settings = 'calls: {fallbacks: {gpt-5: [gpt-4o], "*": [gpt-5]}, retries: 2}'
    result = configured(version, settings)["router_settings"]
    chains = {model: chain for one in result["fallbacks"] for model, chain in one.items()}
    assert chains == {"gpt-5": ["gpt-4o"], "gpt-4o": ["gpt-5"], "gpt-4.1-mini": ["gpt-5"], LOCAL: ["gpt-5"]}
    assert result["num_retries"] == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param("", {"allowed_fails": 2, "cooldown_time": 30.0}, id="as usual"),
        pytest.param("calls: {cool_down: {failures: 0}}", {"disable_cooldowns": True}, id="never"),
    ],
)
def test_cool_downs_are_litellms(version: Version, settings: str, expected: dict[str, Json]) -> None:
    assert expected.items() <= configured(version, settings)["router_settings"].items()


def test_paths_hold_wherever_the_proxy_is_started(version: Version) -> None:
    variables = configured(version, config=Path("pointsman.yaml"))["environment_variables"]
    assert variables == {
        "POINTSMAN_ROUTER": str(Path("models/demo").resolve()),
        "POINTSMAN_CONFIG": str(Path("pointsman.yaml").resolve()),
    }


def test_an_address_of_the_registry_stays_as_it_is(version: Version) -> None:
    plan = ProxyPlan(version=version, router="models:/support@champion")
    assert proxy_config(plan)["environment_variables"] == {"POINTSMAN_ROUTER": "models:/support@champion"}


@pytest.mark.parametrize(
    ("settings", "alias", "message"),
    [
        pytest.param("", "gpt-5", "the alias 'gpt-5' is a model's name", id="alias"),
        pytest.param(
            "limits: {deny: [gpt-4o, gpt-5, gpt-4.1-mini]}",
            "smart",
            f"nothing to choose: the limits leave {LOCAL}",
            id="one model",
        ),
    ],
)
def test_what_can_t_be_offered_is_refused(version: Version, settings: str, alias: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(version, settings, alias=alias)


def grown(version: Version, names: list[str]) -> Version:
    """The router as if it had been trained on further models as well."""
    models = (*version.models, *names)
    success = [*version.manifest["statistics"]["success"], *([0.5] * len(names))]
    changed = copy.copy(version)
    changed.models = models
    changed.manifest = {**version.manifest, "statistics": {"success": success}}
    return changed


def test_more_models_than_litellm_has_tiers_are_refused_with_those_to_spare(version: Version) -> None:
    many = grown(version, [f"m{number}" for number in range(6)])
    with pytest.raises(ConfigError, match=r"at most 8 models, and this router has 10: .* gpt-4o, m5$"):
        configured(many)


def test_dominated_models_are_spared_first(version: Version) -> None:
    dominated = version.manifest["data"]["dominated"]
    order = dispensable(version, served_models(version))
    assert order[: len(dominated)] == sorted(dominated, key=order.index)


def test_a_name_that_is_too_long_for_a_tier_is_refused(version: Version) -> None:
    with pytest.raises(ConfigError, match="has more than the 64 characters"):
        configured(grown(version, ["x" * 65]))


def test_the_command_writes_a_configuration_that_says_how_to_start_it(
    router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "proxy.yaml"
    arguments = ["litellm-config", "--router", str(router_folder), "--alias", "auto", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["pointsman", *arguments])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    text = out.read_text(encoding="utf-8")
    assert "litellm --config proxy.yaml" in text
    assert "Request the model 'auto' to let the router choose" in text
    assert yaml.safe_load(text)["environment_variables"]["POINTSMAN_ROUTER"] == str(router_folder)
    assert "no call log: set log.url" in capsys.readouterr().err


def test_the_command_says_what_is_wrong(
    router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "proxy.yaml"
    arguments = ["litellm-config", "--router", str(router_folder), "--alias", "gpt-5", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["pointsman", *arguments])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "error: the alias 'gpt-5' is a model's name" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_can_not_be_written_is_one_line(
    router_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "missing" / "proxy.yaml"
    monkeypatch.setattr(
        sys, "argv", ["pointsman", "litellm-config", "--router", str(router_folder), "--out", str(out)]
    )
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "proxy.yaml: can't be written: No such file" in " ".join(capsys.readouterr().err.split())
