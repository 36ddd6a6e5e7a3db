from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from router.calling.attempt import Attempt
from router.errors import ArtifactError, NoModelAllowed, RequestError
from router.proxying import dispatch
from router.proxying.dispatch import (
    NOT_SERVED,
    Candidates,
    Dispatcher,
    fit_arguments,
    group_of,
    objection,
    with_effort,
)
from router.proxying.ticket import WISHES, CallerRequest, Ticket
from router.records import Decision, Json
from router.rules_version import RulesVersion
from router.serving.client import Router
from router.settings.sections import Calls, Config, ModelSettings
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.services.waiting import PATIENCE_S

LOCAL = "ollama/llama3.1"
HI: Json = [{"role": "user", "content": "hi"}]


def ticket_for(messages: Json = HI, **wishes: Json) -> Ticket:
    return Ticket("the-call", CallerRequest.of({}, {WISHES: wishes}, messages))


def router_with(version: Version, config: Config) -> Router:
    """A router of other settings, without loading its arrays again."""
    changed = copy.copy(version)
    changed.config = config
    changed.limits = type(version.limits)(version.models, config)
    return Router(changed)


@pytest.fixture
def router(version: Version) -> Router:
    settings = ModelSettings(local=True)
    return router_with(version, Config(models={LOCAL: settings}))


@pytest.fixture
def dispatcher(router: Router) -> Dispatcher:
    return Dispatcher(lambda: router)


def settled(dispatcher: Dispatcher, ticket: Ticket, candidates: Candidates | None = None) -> Ticket:
    dispatcher.decide_now(ticket, candidates or Candidates())
    return ticket


def test_the_decision_is_the_routers(dispatcher: Dispatcher, router: Router) -> None:
    ticket = settled(dispatcher, ticket_for())
    assert ticket.completion is not None
    assert ticket.completion.decision == router.route("hi")
    assert (ticket.completion.request_id, ticket.completion.version) == ("the-call", router.version)


def test_a_model_that_litellm_does_not_serve_is_ruled_out_with_that_reason(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(), Candidates(groups=["gpt-4o", "gpt-5", "whisper"]))
    assert ticket.completion is not None
    assert ticket.completion.decision.rejected == {"gpt-4.1-mini": NOT_SERVED, LOCAL: NOT_SERVED}


def test_a_request_that_no_model_may_serve_has_a_refusal_with_every_reason(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(local_only=True), Candidates(groups=["gpt-4o", "gpt-5"]))
    assert ticket.completion is None
    assert isinstance(ticket.refusal, NoModelAllowed)
    assert ticket.refusal.rejected[LOCAL] == NOT_SERVED
    assert "not local" in ticket.refusal.rejected["gpt-5"]


def test_a_request_of_the_wrong_form_has_a_refusal(dispatcher: Dispatcher) -> None:
    assert isinstance(settled(dispatcher, ticket_for(messages=[])).refusal, RequestError)


def test_a_named_model_is_pinned_and_its_rows_have_no_propensity(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(), Candidates(pinned="gpt-4o"))
    assert ticket.completion is not None
    assert (ticket.completion.decision.model, ticket.completion.decision.source) == ("gpt-4o", "pinned")
    row = ticket.completion._record(
        Attempt(model="gpt-4o", number=1, started=0.0, latency_s=1.0), served=True
    )
    assert (row.propensity, row.decision_source) == (None, "pinned")
    assert row.confidence == ticket.completion.decision.confidence


def test_a_model_that_the_router_does_not_know_may_be_called_by_its_name(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(), Candidates(pinned="our-own"))
    assert ticket.completion is not None
    assert (ticket.completion.decision.model, ticket.completion.decision.source) == ("our-own", "pinned")
    assert objection(ticket, "our-own") is None


def test_an_unknown_model_is_under_the_limits_too(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(local_only=True), Candidates(pinned="our-own"))
    assert str(objection(ticket, "our-own")).startswith("not local")


def test_the_limits_hold_for_every_group_that_litellm_falls_back_to(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(local_only=True, deny=["gpt-4o"]))
    assert objection(ticket, LOCAL) is None
    assert str(objection(ticket, "gpt-5")).startswith("not local")
    assert objection(ticket, "gpt-4o") == "denied"
    assert str(objection(ticket, "azure/our-own")).startswith("not local")


@pytest.mark.parametrize("kind", ["authentication", "bad_request", "content_policy"])
@pytest.mark.parametrize("also", [pytest.param(False, id="usually"), pytest.param(True, id="as configured")])
def test_a_wrong_request_is_tried_elsewhere_only_if_the_settings_say_so(
    version: Version,
    kind: Any,  # noqa: ANN401 - an ErrorKind
    also: bool,
) -> None:
    router = router_with(version, Config(calls=Calls(also_fall_back_on=[kind] if also else [])))
    ticket = settled(Dispatcher(lambda: router), ticket_for())
    ticket.failure = ("gpt-4o", kind)
    assert objection(ticket, "gpt-5") == (None if also else "gpt-4o rejected the request itself")
    assert objection(ticket, "gpt-4o") is None


def test_no_more_models_are_tried_than_the_settings_say(version: Version) -> None:
    router = router_with(version, Config(calls=Calls(max_models=2)))
    ticket = settled(Dispatcher(lambda: router), ticket_for())
    ticket.tried = {"gpt-4o", "gpt-5"}
    assert objection(ticket, "gpt-5") is None
    assert objection(ticket, "gpt-4.1-mini") == "2 models were tried, the limit of calls.max_models"


def test_a_stream_that_has_begun_is_not_tried_elsewhere(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for())
    ticket.failure = ("gpt-4o", "broken_stream")
    ticket.reading.first_token = 1.0
    assert objection(ticket, "gpt-5") == "gpt-4o had begun to answer"


def test_a_model_gets_its_own_parameters_and_not_what_it_lacks(version: Version) -> None:
    settings = ModelSettings(
        parameters={"reasoning_effort": "low"}, drop=["seed"], map={"tool_choice": {"required": "auto"}}
    )
    router = router_with(version, Config(models={"gpt-5": settings}))
    ticket = settled(Dispatcher(lambda: router), ticket_for())
    arguments = {
        "seed": 1,
        "tool_choice": "required",
        "messages": HI,
        "api_base": "http://localhost",
        "tools": [],
    }
    sent, notes = fit_arguments(ticket, "gpt-5", arguments)
    assert (sent["reasoning_effort"], sent["tool_choice"]) == ("low", "auto")
    assert "seed" not in sent
    assert (sent["messages"], sent["api_base"]) == (HI, "http://localhost")
    assert len(notes) == 2


def test_what_an_unknown_model_gets_is_litellms_business(dispatcher: Dispatcher) -> None:
    ticket = settled(dispatcher, ticket_for(), Candidates(pinned="our-own"))
    assert fit_arguments(ticket, "our-own", {"seed": 1}) == ({"seed": 1}, ())


def test_a_router_is_loaded_once_however_many_ask(router: Router) -> None:
    loads: list[int] = []

    def load() -> Router:
        loads.append(1)
        return router

    dispatcher = Dispatcher(load)
    with ThreadPoolExecutor(8) as threads:
        routers = list(threads.map(lambda _: dispatcher.router(), range(32)))
    assert (len(loads), set(map(id, routers))) == (1, {id(router)})


def test_a_router_that_is_being_loaded_does_not_stop_the_event_loop(router: Router) -> None:
    go_on = threading.Event()

    def load() -> Router:
        assert go_on.wait(PATIENCE_S)
        return router

    async def both() -> None:
        ready = asyncio.ensure_future(Dispatcher(load).ready())
        await asyncio.sleep(0)
        go_on.set()  # reached only if the loop goes on meanwhile
        await ready

    asyncio.run(both())


def test_a_failed_load_is_told_and_tried_again_later(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def load() -> Router:
        loads.append(1)
        if len(loads) == 1:
            raise ArtifactError("no such folder")
        return router

    dispatcher = Dispatcher(load)
    for _ in range(2):
        assert str(settled(dispatcher, ticket_for()).refusal) == "no such folder"
    assert len(loads) == 1
    monkeypatch.setattr(dispatch, "LOAD_AGAIN_S", 0.0)
    assert settled(dispatcher, ticket_for()).completion is not None


def test_a_failed_load_at_the_start_is_logged_and_fails_nothing_yet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def load() -> Router:
        raise ArtifactError("no such folder")

    asyncio.run(Dispatcher(load).ready())
    assert "every request for a model is refused: no such folder" in caplog.text


def test_however_many_ask_a_request_is_decided_on_once(
    dispatcher: Dispatcher, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions: list[Decision] = []
    decided, ticket = router.decide_by, ticket_for()

    def counted(*arguments: Any) -> Decision:  # noqa: ANN401 - of the router
        decisions.append(decided(*arguments))
        return decisions[-1]

    async def all_at_once() -> None:
        await asyncio.gather(*(dispatcher.decide(ticket, Candidates()) for _ in range(8)))

    monkeypatch.setattr(router, "decide_by", counted)
    asyncio.run(all_at_once())
    assert len(decisions) == 1


def test_the_decision_outlives_the_patience_of_who_asked_first(router: Router) -> None:
    go_on = threading.Event()

    def load() -> Router:
        assert go_on.wait(PATIENCE_S)
        return router

    async def impatient() -> Ticket:
        dispatcher, ticket = Dispatcher(load), ticket_for()
        with pytest.raises(asyncio.TimeoutError, match=r"^$"):
            await asyncio.wait_for(dispatcher.decide(ticket, Candidates()), timeout=0.01)
        go_on.set()
        await dispatcher.decide(ticket, Candidates())
        return ticket

    assert asyncio.run(impatient()).completion is not None


def test_litellms_copy_of_a_plugin_has_the_same_dispatcher(dispatcher: Dispatcher) -> None:
    assert copy.deepcopy({"plugin": dispatcher})["plugin"] is dispatcher


EFFORTS = "{models: {gpt-5: {efforts: [low, high]}, mini: {}}, rules: {default: gpt-5@low}}"


@pytest.mark.parametrize("pinned", [None, "gpt-5"])
@pytest.mark.parametrize("effort", ["low", "high"])
def test_a_group_named_like_a_model_serves_the_chosen_action(effort: str, pinned: str | None) -> None:
    router = Router(RulesVersion(parse_config(EFFORTS)))
    request = CallerRequest.of({"reasoning_effort": effort}, {}, HI)
    candidates = Candidates(groups=None if pinned else ["gpt-5", "mini"], pinned=pinned)
    ticket = settled(Dispatcher(lambda: router), Ticket("the-call", request), candidates)
    completion = ticket.completion
    assert completion is not None
    assert (completion.decision.model, objection(ticket, "gpt-5")) == (f"gpt-5@{effort}", None)
    assert fit_arguments(ticket, "gpt-5", {})[0]["reasoning_effort"] == effort
    ticket.begin("gpt-5")
    assert ticket.tried == {f"gpt-5@{effort}"}


@pytest.mark.parametrize(
    ("kind", "stated", "sent"),
    [
        ("aresponses", {}, {"reasoning": {"effort": "low"}}),
        ("anthropic_messages", {}, {"reasoning_effort": "low"}),
        ("anthropic_messages", {"thinking": {"type": "enabled", "budget_tokens": 9}}, None),
        ("aresponses", {"reasoning": {"effort": "minimal"}}, None),
        ("atext_completion", {}, None),
    ],
)
def test_other_protocols_get_the_effort_of_the_chosen_action_in_their_own_form(
    kind: str, stated: dict[str, Json], sent: dict[str, Json] | None
) -> None:
    router = Router(RulesVersion(parse_config(EFFORTS)))
    request = CallerRequest.of(stated, {}, HI)
    ticket = settled(Dispatcher(lambda: router), Ticket("c", request), Candidates(groups=["gpt-5", "mini"]))
    assert with_effort(ticket, "gpt-5", kind, {"input": "hi"}) == (sent and {"input": "hi", **sent})


@pytest.mark.parametrize(
    "stated", [{"reasoning": {"effort": "high"}}, {"output_config": {"effort": "high"}}], ids=str
)
def test_an_effort_that_another_protocol_states_pins_it(stated: dict[str, Json]) -> None:
    router = Router(RulesVersion(parse_config(EFFORTS)))
    ticket = Ticket("c", CallerRequest.of(stated, {}, HI))
    ticket = settled(Dispatcher(lambda: router), ticket, Candidates(groups=["gpt-5", "mini"]))
    assert ticket.completion is not None
    assert ticket.completion.decision.model == "gpt-5@high"


def test_a_group_of_an_action_is_preferred_and_a_denied_model_has_none() -> None:
    router = Router(RulesVersion(parse_config(EFFORTS)))
    ticket = settled(
        Dispatcher(lambda: router), ticket_for(deny=["gpt-5"]), Candidates(groups=["gpt-5", "mini"])
    )
    assert objection(ticket, "gpt-5") == "denied"
    assert group_of("gpt-5@low", ["gpt-5", "gpt-5@low"]) == "gpt-5@low"
    assert (group_of("gpt-5@low", ["gpt-5"]), group_of("mini", ["mini"])) == ("gpt-5", "mini")
