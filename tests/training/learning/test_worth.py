from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from router.records import FloatArray
from router.settings.sections import Config
from router.version import Version
from tests.training.logs import made_table
from training.learning.material import Material
from training.learning.worth import advice_on
from training.recommending import Recommendation

COST = [1.0, 10.0]


@dataclass(frozen=True, kw_only=True)
class Chooses:
    """A stand-in for a router: it takes a given model on each prompt."""

    choice: list[int]
    models: tuple[str, ...] = ("a", "b")
    folder: Path = Path("models/x")
    baseline: str = "b"

    def forecast_from(self, features: FloatArray) -> Any:  # noqa: ANN401 - a stand-in
        return SimpleNamespace(cost=np.tile(COST, (len(features), 1)))

    def decisions(self, requests: list[Any], *_: object) -> list[Any]:
        return [SimpleNamespace(model=self.models[column]) for column in self.choice[: len(requests)]]


def advice(
    success: list[list[float]], choice: list[int], groups: list[int] | None = None, *, rows: int | None = None
) -> Recommendation:
    """The advice on a router that takes `choice` on prompts with these outcomes."""
    table = made_table(success, [COST] * len(success), groups)
    features = SimpleNamespace(rows=lambda index: np.zeros((len(index), 1)))
    material = cast(Material, SimpleNamespace(table=table, features=features, config=Config()))
    version = cast(Version, Chooses(choice=choice))
    part = np.arange(len(success) if rows is None else rows)
    return advice_on(version, material, cast(Any, [None] * len(success)), part, ["calls.parquet"])


def test_a_router_that_is_as_good_and_cheaper_is_deployed() -> None:
    success = [[1.0, 1.0], [0.0, 1.0]] * 200
    found = advice(success, [0, 1] * 200)
    assert found.code == "deploy"
    on = "on the 400 prompts with all outcomes known"
    assert f"against sending all requests to b, {on}, success 0.0 points [-0.8, +0.8]" in found.sentence


def test_a_router_that_uses_one_model_is_not_needed() -> None:
    found = advice([[1.0, 1.0], [0.0, 1.0]] * 100, [1] * 200)
    assert found.code == "one_model"
    assert found.sentence.startswith("Do without a router: this one sends all requests to b")


def test_a_router_that_is_worse_and_no_cheaper_loses() -> None:
    assert advice([[0.0, 1.0]] * 190 + [[1.0, 0.0]] * 10, [1, 0] * 50 + [1] * 100).code != "deploy"


def test_prompts_that_met_one_model_lead_to_a_comparison() -> None:
    unknown = float("nan")
    found = advice([[1.0, unknown], [unknown, 1.0]] * 100 + [[1.0, 1.0]] * 3, [0, 1] * 100 + [0] * 3)
    assert found.code == "cannot_tell"
    assert "3 of its 203 prompts have the outcome of every model" in found.sentence
    assert found.next == "pointsman compare calls.parquet --router models/x --out models/x-report"


def test_a_replay_of_prompts_that_training_saw_is_not_proposed_to_judge_the_router() -> None:
    seen = [[1.0, float("nan")]] * 5000
    found = advice(
        [[1.0, 1.0], [0.0, 1.0]] * 18 + [[0.0, 1.0], [1.0, 0.0]] + seen, [0, 1] * 18 + [0, 0], rows=38
    )
    assert found.code == "cannot_tell"
    assert "more prompts with known outcomes to settle that, then compare again" in found.sentence
    assert found.next.startswith("pointsman compare calls.parquet MORE_CALLS --router models/x")


def test_without_a_test_part_nothing_is_said() -> None:
    found = advice([[1.0, 1.0]] * 50, [0] * 50, rows=0)
    assert found.code == "cannot_tell"
    assert "no prompt was held out to judge the router on (training.test_share is 0.1)" in found.sentence
    assert found.next.startswith("pointsman compare MORE_CALLS --router")


def test_sessions_count_once() -> None:
    success, choice = [[1.0, 1.0], [0.0, 1.0]] * 100, [0, 1] * 100
    assert advice(success, choice, [row % 10 for row in range(200)]).code == "cannot_tell"


@pytest.mark.parametrize("prompts", [40, 150])
def test_a_router_that_chooses_at_random_is_hardly_ever_deployed(prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    wrong = 0
    for _ in range(40):
        success = rng.binomial(1, [0.6, 0.8], (prompts, 2)).astype(float).tolist()
        wrong += advice(success, rng.integers(0, 2, prompts).tolist()).code in (
            "deploy",
            "deploy_with_weight",
        )
    assert wrong <= 5
