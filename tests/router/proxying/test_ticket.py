from __future__ import annotations

import copy
import gc
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from router.calling.attempt import Attempt, Usage
from router.errors import RequestError
from router.proxying.outcome import BROKEN_OFF, CALLER_LEFT, Outcome
from router.proxying.ticket import WISHES, CallerRequest, Ticket
from router.records import Json, Request
from router.serving.client import Router
from router.serving.completion import Completion
from router.settings.sections import Config, ModelSettings, Price
from router.version import Version
from tests.services.waiting import wait_until

HI: Json = [{"role": "user", "content": "hi"}]
ANSWERED = Outcome(usage=Usage(input_tokens=10, output_tokens=5), cost_usd=0.25)
FAILED = Outcome(kind="rate_limit")
OURS = Price(input_usd_per_million=1e6, output_usd_per_million=2e6)


class Kept:
    """A call log that keeps its rows."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def write(self, record: Any) -> None:  # noqa: ANN401 - a CallRecord
        self.rows.append(record)

    def column(self, name: str) -> list[Json]:
        return [getattr(row, name) for row in self.rows]


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def ticket(loaded: Router, log: Kept) -> Ticket:
    """Of a request that was decided on."""
    decided = Ticket("the-call", CallerRequest.of({}, {}, HI))
    request = Request.of("hi", session_id="s")
    decided.completion = Completion(
        version=loaded.version,
        request=request,
        decision=loaded.version.decide(request),
        arguments={},
        log=log,  # type: ignore[arg-type] # keeps its rows
        sessions=loaded._sessions,
        request_id="the-call",
    )
    return decided


def chosen(ticket: Ticket) -> str:
    assert ticket.completion is not None
    return ticket.completion.decision.model


def other(ticket: Ticket) -> str:
    assert ticket.completion is not None
    return ticket.completion.decision.ranking[1]


def test_the_order_takes_what_the_decision_looks_at_and_no_key() -> None:
    arguments = {
        "model": "smart", "messages": HI, "tools": [{"type": "function"}], "temperature": 0.5,
        "api_key": "sk-secret", "proxy_server_request": {"headers": {}}, "response_format": {"type": "text"},
    }  # fmt: skip
    metadata = {"task_type": "chat", "tags": ["web"], "session_id": "s", "user_api_key": "sk-secret"}
    order = CallerRequest.of(arguments, metadata, HI)
    request = order.to_request(None)
    assert (request.messages, request.tools) == (tuple(HI), [{"type": "function"}])
    assert (request.response_format, request.parameters) == ({"type": "text"}, {"temperature": 0.5})
    assert (request.task_type, request.tags, request.session_id) == ("chat", ["web"], "s")
    assert "sk-secret" not in repr(order)


def test_the_messages_that_a_hook_brings_along_come_first() -> None:
    order = CallerRequest.of({}, {}, HI)
    assert order.to_request([{"role": "user", "content": "masked"}]).messages[0]["content"] == "masked"


def test_a_session_id_that_litellm_made_up_names_no_conversation() -> None:
    metadata = {"session_id": "made-up", "litellm_session_id_generated": True}
    assert CallerRequest.of({}, metadata, HI).to_request(None).session_id is None


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param({"task_type": 7}, "task_type must be text", id="task type"),
        pytest.param({"tags": "web"}, "tags must be a list of texts", id="tags"),
    ],
)
def test_metadata_of_the_wrong_form_is_refused(metadata: dict[str, Json], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        CallerRequest.of({}, metadata, HI).to_request(None)


def test_wishes_are_read_from_the_metadata() -> None:
    wishes = CallerRequest.of({}, {WISHES: {"local_only": True, "max_cost_usd": 0.5}}, HI).wishes()
    assert (wishes.local_only, wishes.max_cost_usd, wishes.model) == (True, 0.5, None)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        pytest.param({"local": True}, r"unknown wish, 'local'; known: allow, deny, explore", id="unknown"),
        pytest.param({"model": "gpt-5"}, "unknown wish, 'model'", id="the model has its own place"),
        pytest.param(True, "must hold wishes by name, got bool", id="no object"),
        pytest.param({"local_only": "yes"}, "local_only must be true or false", id="wrong form"),
    ],
)
def test_wishes_that_are_not_understood_are_refused(wishes: Json, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        CallerRequest.of({}, {WISHES: wishes}, HI).wishes()


def test_an_attempt_that_answers_leaves_a_row_under_the_calls_id(ticket: Ticket, log: Kept) -> None:
    ticket.begin(chosen(ticket), ("a note",))
    ticket.end(ANSWERED)
    (row,) = log.rows
    assert (row.call_id, row.attempt, row.notes) == ("the-call", 1, ("a note",))
    assert (row.input_tokens, row.output_tokens, row.error) == (10, 5, None)
    assert ticket.state == "answered"


def test_failed_attempts_are_numbered(ticket: Ticket, log: Kept) -> None:
    for model in (chosen(ticket), other(ticket)):
        ticket.begin(model)
        ticket.end(FAILED)
    assert log.column("call_id") == ["the-call-1", "the-call-2"]
    assert log.column("decision_source") == ["learned", "fallback"]
    assert ticket.failure == (other(ticket), "rate_limit")
    assert ticket.tried == {chosen(ticket), other(ticket)}


def test_of_several_reports_of_one_end_the_first_counts(ticket: Ticket, log: Kept) -> None:
    ticket.begin(chosen(ticket))
    ticket.end(FAILED)
    ticket.end(replace(FAILED, kind="server"))
    ticket.end_by_event(FAILED)
    assert log.column("error") == ["rate_limit"]


def test_an_end_without_an_attempt_is_no_row(ticket: Ticket, log: Kept) -> None:
    ticket.end(ANSWERED)
    assert log.rows == []


def test_an_attempt_within_another_on_the_same_model_is_the_same(ticket: Ticket, log: Kept) -> None:
    ticket.begin(chosen(ticket))
    ticket.begin(chosen(ticket))
    ticket.end(ANSWERED)
    assert log.column("attempt") == [1]


def test_an_attempt_that_another_follows_broke_off(ticket: Ticket, log: Kept) -> None:
    ticket.begin(chosen(ticket))
    ticket.begin(other(ticket))
    ticket.end_by_event(replace(FAILED, kind="connection"))  # of the first one, late
    ticket.end(ANSWERED)
    assert log.column("error") == [BROKEN_OFF.kind, None]
    assert log.column("model") == [chosen(ticket), other(ticket)]


def test_the_second_event_is_the_second_attempts(ticket: Ticket, log: Kept) -> None:
    ticket.begin(chosen(ticket))
    ticket.begin(other(ticket))
    ticket.end_by_event(FAILED)
    ticket.end_by_event(replace(FAILED, kind="timeout"))
    assert log.column("error") == [BROKEN_OFF.kind, "timeout"]


def test_a_declined_request_is_logged_as_the_fallbacks(ticket: Ticket, log: Kept) -> None:
    assert ticket.completion is not None
    doubt, fallback = "confidence 0.1 is below 0.5", other(ticket)
    ruled = replace(
        ticket.completion.decision, source="rule", reason=f"{doubt}: rule table (default) decides"
    )
    ticket.completion = replace(ticket.completion, decision=ruled)
    ticket.left_to_litellm = True
    ticket.begin(fallback)
    ticket.end(ANSWERED)
    (row,) = log.rows
    assert (row.model, row.chosen_model) == (fallback, fallback)
    assert (row.decision_source, row.propensity) == ("rule", 1.0)
    assert row.confidence == ruled.success_probability[fallback]
    assert ticket.completion.decision.reason == f"{doubt}: LiteLLM's fallback decides"
    assert ticket.completion.decision.ranking[0] == fallback


def test_a_session_that_litellms_fallback_moved_is_where_it_moved(ticket: Ticket) -> None:
    assert ticket.completion is not None
    ticket.left_to_litellm = True
    fallback = other(ticket)
    ticket.begin(fallback)
    ticket.end(ANSWERED)
    seat = ticket.completion.sessions.seat("s")
    assert seat is not None
    assert (seat.model, seat.tokens) == (fallback, 10)


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        pytest.param(None, 0.25, id="litellm's cost"),
        pytest.param(
            Price(input_usd_per_million=1e6, output_usd_per_million=2e6), 20.0, id="the team's price"
        ),
    ],
)
def test_an_answer_costs_what_the_team_says_and_else_what_litellm_says(
    ticket: Ticket, log: Kept, version: Version, price: Price | None, cost: float
) -> None:
    assert ticket.completion is not None
    model = chosen(ticket)
    priced = copy.copy(version)
    priced.config = Config(models={model: ModelSettings(price=price)})
    ticket.completion = replace(ticket.completion, version=priced)
    ticket.begin(model)
    ticket.end(ANSWERED)
    assert log.column("cost_usd") == [cost]


def test_latency_counts_from_the_attempts_start(ticket: Ticket) -> None:
    seen: list[Attempt] = []
    assert ticket.completion is not None
    object.__setattr__(ticket.completion, "attempts", seen)
    before = time.time()
    ticket.begin(chosen(ticket))
    after = time.time()
    ticket.end(replace(ANSWERED, ended=after + 5, first_token=after + 2, stream=True))
    longest = after - before
    assert 5 <= seen[0].latency_s <= 5 + longest
    assert seen[0].first_token_s is not None
    assert 2 <= seen[0].first_token_s <= 2 + longest


def test_a_ticket_that_is_thrown_away_during_an_attempt_is_logged_as_cancelled(
    loaded: Router, log: Kept, ticket: Ticket
) -> None:
    lost = Ticket("lost", ticket.request)
    lost.completion = ticket.completion
    lost.begin(chosen(ticket))
    del lost
    gc.collect()
    wait_until(lambda: log.rows)
    assert log.column("error") == [CALLER_LEFT.kind]


def test_every_copy_of_the_metadata_holds_the_same_ticket(ticket: Ticket) -> None:
    assert copy.deepcopy({"metadata": {"a": [ticket]}})["metadata"]["a"][0] is ticket


def test_a_ticket_shows_no_prompt(ticket: Ticket) -> None:
    assert repr(ticket) == "<pointsman's ticket the-call>"
    assert "hi" not in json.dumps({"ticket": ticket}, default=repr).replace("the-call", "")


def test_a_further_attempt_belongs_to_the_request_of_its_trace_and_messages(ticket: Ticket) -> None:
    ticket.trace = "t"
    assert ticket.belongs_to("t", HI)
    assert not ticket.belongs_to("u", HI)
    assert not ticket.belongs_to("t", list(HI))
    ticket.begin(chosen(ticket))
    ticket.end(ANSWERED)
    assert not ticket.belongs_to("t", HI)
