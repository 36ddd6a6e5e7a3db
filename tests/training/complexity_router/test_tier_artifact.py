from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from router.errors import CallLogError, TrainingError
from router.models.litellm_import import litellm_module
from router.records import Request
from router.settings.sections import Config, HeuristicModels, Rules
from tests.training.logs import made_table, table_of, write_lines
from training.complexity_router.litellm_scores import TIERS
from training.complexity_router.tier_artifact import (
    TierExport,
    best_tier_model,
    export_tiers,
    ladder_of,
    statistics,
    tier_export,
)
from training.progress import Silent
from training.prompts.from_logs import ReadOptions
from training.prompts.table import PromptTable

CODE = "Write a python function that sorts a list, number {}"
CHAT = "Good morning, how are you on day {}?"
COSTS = {"small": 0.001, "middle": 0.01, "large": 0.1}


def calls() -> list[dict[str, Any]]:
    """Small models do well at greetings only, the large one at everything."""
    return [
        {
            "prompt": text.format(number),
            "model": model,
            "success": model == "large" or text == CHAT,
            "cost_usd": cost,
        }
        for number in range(150)
        for text in (CODE, CHAT)
        for model, cost in COSTS.items()
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TierExport:
    folder = tmp_path_factory.mktemp("tiers")
    reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=folder, format="pointsman")
    source = write_lines(folder / "calls.jsonl", *calls())
    return export_tiers([source], reading, folder / "new" / "tiers.json", Silent())


def deployments_of(made: TierExport, *aliases: str) -> list[dict[str, Any]]:
    """LiteLLM's model list, with the file in the configuration of each alias."""
    config = yaml.safe_load(
        f"classifier_type: heuristic_v2\ntiers: {json.dumps(dict(made.tiers))}\n"
        f"heuristic_v2_artifact: {made.out.read_text()}"
    )
    smart = {"model": "auto_router/complexity_router", "complexity_router_config": config}
    models = {
        name: {"model": f"openai/{name}", "api_key": "none", "mock_response": name} for name in COSTS
    } | dict.fromkeys(aliases, smart)
    return [{"model_name": name, "litellm_params": params} for name, params in models.items()]


def routed(made: TierExport, *texts: str) -> list[str]:
    """The model that a real LiteLLM router with the file in its configuration answers with, per text."""
    router = litellm_module().Router(model_list=deployments_of(made, "smart"))

    async def ask() -> list[str]:
        answers = [
            await router.acompletion(model="smart", messages=[{"role": "user", "content": text}])
            for text in texts
        ]
        return [answer.choices[0].message.content for answer in answers]

    return asyncio.run(ask())


def test_litellm_s_own_loader_takes_the_file(made: TierExport) -> None:
    litellm_module()
    from litellm.router_strategy.complexity_router.tier_predictor import TrainedTierArtifact

    loaded = TrainedTierArtifact.model_validate_json(made.out.read_text())
    assert loaded.model_dump(mode="json", exclude_unset=True) == made.artifact


def test_a_real_litellm_router_routes_by_what_the_log_teaches(made: TierExport) -> None:
    assert routed(made, CODE.format(1000), CHAT.format(1000)) == ["large", "small"]


def test_the_proxy_without_a_licence_serves_one_such_router(
    made: TierExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    litellm = litellm_module()
    from litellm.proxy.auth.litellm_license import LicenseCheck

    monkeypatch.delenv("LITELLM_LICENSE", raising=False)
    limit = LicenseCheck().auto_router_capability_limit
    litellm.Router(model_list=deployments_of(made, "smart"), auto_router_capability_limit=limit)
    with pytest.raises(ValueError, match=r"At most 1 auto-router\(s\) using the heuristic_v2 classifier"):
        litellm.Router(model_list=deployments_of(made, "smart", "second"), auto_router_capability_limit=limit)


def test_what_it_is_worth_is_measured_on_prompts_held_out(made: TierExport) -> None:
    assert made.held_out == made.compared == sum(made.chosen.values()) == 30
    assert made.worth.success == made.best_single.success == 1.0
    assert made.best_single.policy == "large"
    assert made.worth.cost_usd < made.best_single.cost_usd == pytest.approx(0.1)


def test_what_is_lost_is_said(made: TierExport) -> None:
    assert "No embedding and no neighbours" in made.loses[0]
    assert "2 request types" in made.loses[0]
    assert "middle is left out" in made.loses[-1]


def test_the_export_is_plain_json(made: TierExport) -> None:
    whole = json.loads(json.dumps(made.to_json() | {"out": ""}))
    assert whole["tiers"] == dict(zip(TIERS, ("small", "small", "large", "large"), strict=True))


def four_models() -> PromptTable:
    return made_table([[1.0, 0.0, 1.0, 1.0, np.nan]] * 3, [[5.0, 1.0, 3.0, 2.0, 0.1]] * 3)


def test_tiers_go_by_cost_and_leave_out_models_without_outcomes() -> None:
    assert ladder_of(four_models(), None) == (1, 3, 2, 0)


def test_two_models_fill_four_tiers() -> None:
    assert ladder_of(made_table([[1.0, 0.0]] * 3, [[5.0, 1.0]] * 3), None) == (1, 1, 0, 0)


def test_a_model_that_another_beats_on_the_same_prompts_has_no_tier() -> None:
    rows = [[float(row % 2), float(row % 3 > 0), 1.0] for row in range(60)]
    cost = [[1.0, 3.0, 2.0]] * 60
    assert ladder_of(made_table(rows, cost), None) == (0, 0, 2, 2)
    assert ladder_of(made_table(rows[:40], cost[:40]), None) == (0, 2, 2, 1)


def test_the_team_s_models_come_first() -> None:
    team = HeuristicModels(cheap="c", middle="b", strong="a")
    assert ladder_of(four_models(), team) == (2, 1, 0, 0)


def test_a_team_s_model_without_an_outcome_is_refused_by_name() -> None:
    team = HeuristicModels(cheap="e", middle="b", strong="elsewhere")
    with pytest.raises(TrainingError, match="no outcome of e, elsewhere is in the log"):
        ladder_of(four_models(), team)


def test_one_model_makes_no_tiers() -> None:
    with pytest.raises(TrainingError, match="1 of the log's models have outcomes and costs"):
        ladder_of(made_table([[1.0]] * 3, [[1.0]] * 3), None)


def test_statistics_count_each_prompt_once_and_only_known_outcomes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "hi", "model": "a", "success": True},
        {"prompt": "hi", "model": "a", "success": False},
        {"prompt": "write a python script", "model": "a", "success": True},
        {"prompt": "hi", "model": "b"},
    ]
    found = statistics(table_of(tmp_path, *rows), (0, 0, 0, 0))
    assert found["global_statistics"][0] == {"tier": 1, "successes": 1.5, "observations": 2.0}
    by_type = {
        row["request_type"]: row["successes"] for row in found["domain_statistics"] if row["tier"] == 1
    }
    assert by_type == {"code_generation": 1.0, "general": 0.5}
    assert sum(row["observations"] for row in found["cohort_statistics"] if row["tier"] == 4) == 2.0


def test_the_last_thing_that_the_user_said_is_what_counts(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "write a python script"},
        {"role": "assistant", "content": "```def```"},
        {"role": "user", "content": "thanks"},
    ]
    found = statistics(
        table_of(tmp_path, {"messages": messages, "model": "a", "success": True}), (0, 0, 0, 0)
    )
    assert {row["cohort"] for row in found["cohort_statistics"]} == {
        "general|short|code=0|math=0|mc=0|intl=0"
    }


def test_the_best_single_model_is_the_cheaper_of_equals() -> None:
    table = made_table([[1.0, 1.0]] * 3, [[5.0, 1.0]] * 3)
    assert best_tier_model(table, ladder_of(table, None)) == 1


def test_where_only_one_model_was_tried_prompts_are_not_compared(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(60):
        answer = {"model": "small", "success": False, "cost_usd": 0.1}
        answer = {"model": "large", "success": True, "cost_usd": 1.0} if number % 2 else answer
        rows.append({"prompt": f"question {number}", **answer})
    found = tier_export(table_of(tmp_path, *rows), Config(), tmp_path / "tiers.json")
    assert found.compared < found.held_out


def test_the_rule_table_s_models_are_taken_from_the_settings(tmp_path: Path) -> None:
    team = HeuristicModels(cheap="middle", middle="middle", strong="large")
    config = Config(rules=Rules(heuristic=team))
    found = tier_export(table_of(tmp_path, *calls(), max_prompts=300), config, tmp_path / "tiers.json")
    assert list(found.tiers.values()) == ["middle", "middle", "large", "large"]
    assert any("small is left out" in sentence for sentence in found.loses)


def test_a_file_that_can_t_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    reading = ReadOptions(mapping={}, rejects=None, config=Config(), cache=tmp_path, format="pointsman")
    source = write_lines(tmp_path / "calls.jsonl", *calls())
    with pytest.raises(CallLogError, match="can't be written"):
        export_tiers([source], reading, tmp_path / "file" / "tiers.json", Silent())


def test_an_image_alone_has_no_text_and_is_no_error() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    table = made_table([[1.0, 0.0]], [[1.0, 2.0]])
    table.requests[0:1] = [Request.of([image])]  # type: ignore[index]
    assert statistics(table, (0, 1, 1, 1))["domain_statistics"][0]["request_type"] == "general"
