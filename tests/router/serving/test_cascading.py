from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router import Router
from router.call_log.costs import cost_report
from router.cli.explanation_tables import sentences_on
from router.deciding.cascade import Branch, Cascade
from router.forecasting.answer_numbers import Answer
from router.forecasting.grading import Grader
from router.loading.artifact import MANIFEST, seal
from router.records import Json
from router.serving.cascading import answer_in
from router.serving.completion import NOT_SERVED
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.router.deciding.test_cascade import stored
from tests.router.serving.test_client import KEY_VARIABLE, QUESTION, SURE, App, name
from tests.services.provider import FOREVER, KEY, Provider, Reply, answer, server_error, tokens

JSON: Mapping[str, Json] = {"response_format": {"type": "json_object"}, "task_type": "extraction"}
ON = SURE + "cascade: auto\n"
GOOD, BROKEN = '{"bus": 7}', '{"bus": '


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with Provider() as running:
        yield running


@pytest.fixture
def app(router_folder: Path, provider: Provider, tmp_path: Path) -> App:
    """A router whose cascade takes broken JSON for wrong, and any other answer for right."""
    folder = tmp_path / "router"
    shutil.copytree(router_folder, folder)
    models = Version.load(folder).models
    branch = Branch(
        grader=Grader(
            centre=np.zeros(2),
            spread=np.ones(2),
            models=models,
            task_types=(),
            weights=np.array([3.0, 0.0, -9.0, *np.zeros(len(models))]),
            calibration=np.array([0.0, 1.0, *np.zeros(2 * len(models))]),
        ),
        follow=0.0,
        threshold=0.0,
    )
    cascade = Cascade(numbers=("json broken",), branches={"extraction": branch})
    cascade.save(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for own in ("files", "sha256", "policy_version", "format_version"):
        del manifest[own]
    seal(folder, {**manifest, "cascade": stored(cascade)})
    return App(folder, provider, tmp_path / "calls.db")


def asked(router: Router, way: str = "plain", **arguments: Json) -> Any:  # noqa: ANN401 - LiteLLM's
    whole = {**JSON, **arguments}
    if way == "async":
        return asyncio.run(router.acompletion(messages=QUESTION, **whole))
    return router.completion(messages=QUESTION, **whole)


def break_first(app: App, router: Router, *second: Reply) -> str:
    """Let the model of the router's choice answer in broken JSON, and the others as told or well."""
    first, *others = router.route(QUESTION, **JSON).ranking
    app.provider.script(name(first), answer(BROKEN, usage=tokens(10, 5)))
    for model in others:
        app.provider.script(name(model), *(second or [answer(GOOD, usage=tokens(10, 5))]))
    return first


both_ways = pytest.mark.parametrize("way", ["plain", "async"])


@both_ways
def test_a_broken_answer_is_followed_once_and_the_second_is_served(app: App, way: str) -> None:
    with app.router(ON) as router:
        first = break_first(app, router)
        response = asked(router, way)
    assert response.choices[0].message.content == GOOD
    rows = app.rows()
    assert [row["attempt"] for row in rows] == [1, 2]
    assert rows[0]["model"] == first != rows[1]["model"]
    assert response.decision.answered_by == rows[1]["model"]
    assert response.decision.call_id == rows[1]["call_id"] == rows[1]["request_id"]
    assert rows[0]["call_id"] == f"{rows[0]['request_id']}-1"
    assert [row["decision_source"] for row in rows] == ["learned", "cascade"]
    assert [row["error"] for row in rows] == [None, None]
    assert rows[0]["notes"] == list(NOT_SERVED)
    assert any("was asked too" in note for note in response.decision.notes)
    assert (rows[0]["propensity"], rows[1]["propensity"]) == (1.0, None)


def test_both_costs_count_against_one_estimate_of_the_always_strong_model(app: App) -> None:
    with app.router(ON) as router:
        break_first(app, router)
        asked(router)
    rows = app.rows()
    total = cost_report(rows).total
    assert total.cost_usd == pytest.approx(sum(row["cost_usd"] for row in rows))
    assert total.baseline_cost_usd == rows[1]["baseline_cost_usd"]
    assert total.saved_usd == pytest.approx(total.baseline_cost_usd - total.cost_usd)


@both_ways
def test_a_good_answer_is_served_alone(app: App, way: str) -> None:
    with app.router(ON) as router:
        app.provider.script(name(router.route(QUESTION, **JSON).model), answer(GOOD))
        response = asked(router, way)
    (row,) = app.rows()
    assert (row["call_id"], row["decision_source"]) == (response.decision.call_id, "learned")
    assert response.decision.notes == ()


@both_ways
def test_an_answer_that_cannot_be_graded_is_served(
    app: App, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(*_: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(Branch, "grade", odd)
    with app.router(ON) as router:
        break_first(app, router)
        response = asked(router, way)
    assert response.choices[0].message.content == BROKEN
    (row,) = app.rows()
    assert row["call_id"] == response.decision.call_id
    assert "could not be graded and is served: ZeroDivisionError" in caplog.text


@both_ways
def test_the_first_answer_is_served_if_the_second_model_fails(app: App, way: str) -> None:
    with app.router(ON) as router:
        first = break_first(app, router, server_error())
        response = asked(router, way)
    assert response.choices[0].message.content == BROKEN
    assert response.decision.answered_by == first
    served, failed = app.rows()
    assert (served["call_id"], served["model"], served["attempt"]) == (response.decision.call_id, first, 1)
    assert (failed["attempt"], failed["decision_source"]) == (2, "cascade")
    assert failed["error"].startswith("server")
    assert f"{failed['model']} failed: server" in response.decision.notes


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        pytest.param(SURE, {}, id="off"),
        pytest.param(ON, {"task_type": "support"}, id="a task type that does not gain"),
        pytest.param(ON, {"response_format": None}, id="no form"),
        pytest.param(ON, {"tradeoff": 1.0}, id="only cost counts"),
        pytest.param(ON + "calls: {max_models: 1, retries: 0}\n", {}, id="one model a request"),
        pytest.param(ON + "exploration: {share: 1.0, seed: 1}\n", {}, id="a model that chance chose"),
    ],
)
def test_a_broken_answer_is_served_where_nothing_may_follow(
    app: App, settings: str, arguments: dict[str, Json]
) -> None:
    with app.router(settings) as router:
        for model in router.models:
            app.provider.script(name(model), answer(BROKEN))
        response = asked(router, **arguments)
    (row,) = app.rows()
    assert response.choices[0].message.content == BROKEN
    assert row["call_id"] == response.decision.call_id


def test_a_pinned_model_answers_alone(app: App) -> None:
    with app.router(ON) as router:
        asked(router, model=break_first(app, router))
    assert len(app.rows()) == 1


def test_a_stream_is_served_as_it_comes(app: App) -> None:
    with app.router(ON) as router:
        break_first(app, router)
        list(asked(router, stream=True))
    assert len(app.rows()) == 1


def test_models_that_the_request_denies_are_not_asked(app: App) -> None:
    with app.router(ON) as router:
        first = break_first(app, router)
        asked(router, deny=[model for model in router.models if model != first][1:])
        asked(router, allow=[first])
    asked_for = {row["model"] for row in app.rows()}
    assert len(asked_for) == 2


def test_a_cap_holds_for_both_calls_together(app: App) -> None:
    with app.router(ON) as router:
        first = break_first(app, router)
        costs = router.route(QUESTION, **JSON).expected_cost_usd
        asked(router, max_cost_usd=1.2 * max(costs.values()))
        app.provider.script(name(first), answer(BROKEN, usage=tokens(10_000_000, 5)))
        asked(router, max_cost_usd=1.2 * max(costs.values()))
    assert [row["attempt"] for row in app.rows()] == [1, 2, 1]


def test_a_model_in_cool_down_is_not_asked(app: App) -> None:
    with app.router(ON + "calls: {retries: 0, cool_down: {failures: 1}}\n") as router:
        break_first(app, router, server_error())
        for _ in router.models:
            asked(router)
    failed = [row["model"] for row in app.rows() if row["error"]]
    assert len(failed) == len(set(failed)) == len(app.router(ON).models) - 1


def test_the_second_call_gets_the_time_that_is_left(app: App) -> None:
    with app.router(ON) as router:
        break_first(app, router)
        asked(router, timeout=60)
    assert len(app.rows()) == 2


def test_a_cancelled_second_call_leaves_no_served_answer(app: App) -> None:
    async def leave(router: Router) -> None:
        task = asyncio.create_task(router.acompletion(messages=QUESTION, **JSON))
        while len(app.provider.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with app.router(ON) as router:
        break_first(app, router, answer(GOOD, delay_s=FOREVER))
        asyncio.run(leave(router))
    rows = app.rows()
    assert [row["error"] for row in rows] == [None, "cancelled: CancelledError"]
    assert all(row["call_id"] != row["request_id"] for row in rows)


def test_a_router_that_learned_none_says_that_the_setting_has_no_effect(
    router_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Version.load(router_folder, parse_config("cascade: auto\n"))
    assert "cascade: auto has no effect" in caplog.text


def test_an_explanation_says_what_may_follow(app: App) -> None:
    router = Router.load(app.folder, config=parse_config(ON))
    explanation = router.explain(QUESTION, **JSON)
    assert explanation.decision is not None
    assert explanation.cascade is not None
    assert explanation.cascade.models == explanation.decision.ranking[1:]
    assert next(sentences_on(explanation)).startswith("If the answer looks wrong, one of ")
    assert explanation.to_json()["cascade"]["threshold"] == 0.0
    assert Router.load(app.folder).explain(QUESTION, **JSON).cascade is None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param(SimpleNamespace(choices=[]), None, id="no choice"),
        pytest.param(
            SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="x", tool_calls=None))]),
            Answer(text="x", calls=[]),
            id="text",
        ),
        pytest.param(
            SimpleNamespace(
                choices=[
                    SimpleNamespace(
                        message=SimpleNamespace(
                            content=None,
                            tool_calls=[SimpleNamespace(function=SimpleNamespace(name="f", arguments="{}"))],
                        )
                    )
                ]
            ),
            Answer(text=None, calls=[("f", "{}")]),
            id="a tool call",
        ),
    ],
)
def test_the_answer_is_read_from_the_chat_response(response: object, expected: Answer | None) -> None:
    assert answer_in(response) == expected
