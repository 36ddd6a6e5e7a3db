from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from router.errors import ConfigError
from router.records import Json
from router.settings.sections import Config, Limits, ModelSettings, Price
from router.version import Version
from training.progress import Silent
from training.prompts.from_logs import ReadOptions
from training.replaying.plan import (
    CUT,
    NO_TEXT,
    NONE_LEFT,
    SEEN,
    ReplayJob,
    ReplayPlan,
    cost_by_model,
    plan_replay,
    replay_cost,
)
from training.replaying.selection import Strategy

PRICE = Price(input_usd_per_million=1.0, output_usd_per_million=10.0)


@pytest.fixture(scope="module")
def priced(router_folder: Path, version: Version) -> Version:
    """The sample's router, every model of which has a price and a longest answer."""
    models = {model: ModelSettings(price=PRICE) for model in version.models}
    return Version.load(router_folder, version.config.model_copy(update={"models": models}))


@pytest.fixture
def reading(tmp_path: Path, encoder_cache: Path) -> ReadOptions:
    return ReadOptions(mapping={}, rejects=tmp_path / "rejects.jsonl", config=Config(), cache=encoder_cache)


def log_of(folder: Path, rows: Sequence[Mapping[str, Json]]) -> str:
    path = folder / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(number: int, model: str, **fields: Json) -> dict[str, Json]:
    prompt = {"prompt": f"Summarise ticket {number} in one line."}
    return {
        "call_id": f"{number}-{model}",
        "model": model,
        "success": True,
        "cost_usd": 0.01,
        **prompt,
        **fields,
    }


def planned(
    version: Version, reading: ReadOptions, rows: Sequence[Mapping[str, Json]], **job: Json
) -> ReplayPlan:
    assert reading.rejects is not None
    source = log_of(reading.rejects.parent, rows)
    return plan_replay(ReplayJob(sources=[source], reading=reading, max_tokens=100, **job), version, Silent())


def test_the_models_that_were_not_tried_are_called(priced: Version, reading: ReadOptions) -> None:
    first, second, *others = priced.models
    plan = planned(priced, reading, [row(1, first), row(1, second), row(2, first)], strategy="random")
    called = {(call.request.messages[0]["content"][17], call.model) for call in plan.calls}
    assert called == {("1", model) for model in others} | {("2", model) for model in (second, *others)}


def test_only_the_models_asked_for_are_called(priced: Version, reading: ReadOptions) -> None:
    first, second, *_ = priced.models
    plan = planned(priced, reading, [row(1, first)], models=[second], strategy="random")
    assert [call.model for call in plan.calls] == [second]


def test_a_model_that_the_router_does_not_know_is_refused(priced: Version, reading: ReadOptions) -> None:
    with pytest.raises(ConfigError, match="--models names 'gpt-unheard-of'"):
        planned(priced, reading, [row(1, priced.models[0])], models=["gpt-unheard-of"])


def test_a_smaller_informative_sample_is_the_beginning_of_the_whole(
    priced: Version, reading: ReadOptions
) -> None:
    rows = [row(number, priced.models[0], prompt="Please fix this. " * number) for number in range(1, 30)]
    whole = planned(priced, reading, rows)
    some = planned(priced, reading, rows, most=3)
    assert [call.key for call in some.calls] == [call.key for call in whole.calls][: len(some.calls)]
    assert some.prompts == 3
    assert all(0 < call.sampling_probability < 1 for call in some.calls)


def test_a_random_sample_says_its_chance(priced: Version, reading: ReadOptions) -> None:
    rows = [row(number, priced.models[0], task_type="ab"[number % 2]) for number in range(20)]
    plan = planned(priced, reading, rows, strategy="random", most=4)
    assert plan.prompts == 4
    assert {call.sampling_probability for call in plan.calls} == {0.2}


@pytest.mark.parametrize("strategy", ["random", "informative"])
def test_the_chance_to_be_drawn_is_that_of_what_the_budget_pays_for(
    priced: Version, reading: ReadOptions, strategy: Strategy
) -> None:
    rows = [row(number, priced.models[0]) for number in range(20)]
    whole = planned(priced, reading, rows, strategy=strategy)
    price = replay_cost(whole.calls).expected_usd
    half = planned(priced, reading, rows, strategy=strategy, budget_usd=0.501 * price)
    assert [call.key for call in half.calls] == [call.key for call in whole.calls]
    chance = {call.key: call.sampling_probability for call in half.calls}
    assert sum(chance.values()) == pytest.approx(10, abs=1)
    assert {call.sampling_probability for call in whole.calls} == {1.0}


def test_only_prompts_that_training_did_not_see_judge_a_router(
    priced: Version, reading: ReadOptions, sample_log: Path
) -> None:
    prompts = pl.read_parquet(sample_log)["prompt"].drop_nulls().unique(maintain_order=True)[:40].to_list()
    rows = [row(number, priced.models[0], prompt=prompt) for number, prompt in enumerate(prompts)]
    rows += [row(number, priced.models[0]) for number in range(100, 109)]
    judging = planned(priced, reading, rows, purpose="judge")
    seen = priced.training_keys()
    assert not seen & {int(call.key[:16], 16) for call in judging.calls}
    assert (judging.prompts, judging.unseen) == (49 - judging.set_apart[SEEN], judging.prompts)
    training = planned(priced, reading, rows)
    assert (training.prompts, training.unseen) == (49, judging.prompts)


def test_prompts_are_drawn_alike_to_judge_and_by_their_worth_to_train(
    priced: Version, reading: ReadOptions
) -> None:
    rows = [row(number, priced.models[0], prompt="Please fix this. " * number) for number in range(1, 30)]
    judging = planned(priced, reading, rows, purpose="judge", most=5)
    assert {call.sampling_probability for call in judging.calls} == {5 / 29}
    training = planned(priced, reading, rows, most=5)
    assert len({call.sampling_probability for call in training.calls}) > 1


def test_what_can_not_be_sent_again_is_set_apart(priced: Version, reading: ReadOptions) -> None:
    model = priced.models[0]
    image = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    rows = [
        row(1, model, truncated=True),
        row(2, model, prompt=None, messages=[{"role": "user", "content": image}]),
        *(row(3, name) for name in priced.models),
        row(4, model),
    ]
    plan = planned(priced, reading, rows, strategy="random")
    assert plan.set_apart == {CUT: 1, NO_TEXT: 1, NONE_LEFT: 1}
    assert plan.prompts == 1


def test_a_prompt_that_must_stay_goes_to_no_other_machine(
    router_folder: Path, priced: Version, reading: ReadOptions
) -> None:
    limits = Limits(local_only_task_types=["private"])
    version = Version.load(router_folder, priced.config.model_copy(update={"limits": limits}))
    rows = [row(1, priced.models[0], task_type="private"), row(2, priced.models[0])]
    plan = planned(version, reading, rows, strategy="random")
    private = {call.model for call in plan.calls if call.request.task_type}
    assert private <= {model for model, facts in version.limits.facts.items() if facts.local}
    assert len({call.model for call in plan.calls if not call.request.task_type}) == len(version.models) - 1


def test_a_call_is_expected_to_cost_no_more_than_it_can(priced: Version, reading: ReadOptions) -> None:
    plan = planned(priced, reading, [row(1, priced.models[0])], strategy="random")
    for call in plan.calls:
        assert 0 < call.expected_usd <= call.at_most_usd
        assert call.at_most_usd > 100 * PRICE.output_usd_per_million / 1e6
    by_model = cost_by_model(plan.calls)
    assert np.isclose(sum(c.at_most_usd for c in by_model.values()), replay_cost(plan.calls).at_most_usd)
