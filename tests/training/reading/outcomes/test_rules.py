from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from router.errors import CallLogError, ConfigError
from router.records import Json
from router.settings.outcome_rules import OutcomeRule
from router.settings.yaml_file import parse_config
from training.reading.outcomes.rules import (
    CallEvidence,
    RuleVotes,
    SessionCall,
    source_of,
    votes_on_call,
    votes_on_session,
)


def rule(**kind: Json) -> OutcomeRule:
    return OutcomeRule.model_validate(kind)


def verdict(one: OutcomeRule, **evidence: Json) -> bool | None:
    decided = votes_on_call([one], CallEvidence(whole=evidence, **evidence)).decision()
    return decided and decided[1]


def broken(call: Mapping[str, Json]) -> bool:
    raise ValueError(call["answer"])


def talkative(call: Mapping[str, Json]) -> str:
    return "yes"


def brief(call: Mapping[str, Json]) -> bool | None:
    return len(call["answer"]) < 10 if call.get("answer") else None


@pytest.mark.parametrize(
    ("kind", "evidence", "expected"),
    [
        pytest.param({"feedback": {}}, {"success": True}, True, id="feedback"),
        pytest.param({"feedback": {}}, {"success": False, "source": "error"}, None, id="an error is none"),
        pytest.param(
            {"feedback": {"sources": ["thumbs"]}},
            {"success": True, "source": "replay"},
            None,
            id="other source",
        ),
        pytest.param({"evaluation": {"min_score": 0.7}}, {"score": 0.7}, True, id="grade at the value"),
        pytest.param({"evaluation": {"min_score": 0.7}}, {"score": 0.6}, False, id="grade below"),
        pytest.param({"evaluation": {"min_score": 0.7}}, {}, None, id="no grade"),
        pytest.param({"error": {}}, {"success": False, "source": "error"}, False, id="the model's error"),
        pytest.param(
            {"error": {}}, {"error": "RateLimitError", "source": "error"}, None, id="nobody's error"
        ),
        pytest.param({"error": {"classes": ["Timeout"]}}, {"error": "Timeout"}, False, id="error by class"),
        pytest.param(
            {"error": {"classes": ["Timeout"]}}, {"error": "timeout: Timeout"}, False, id="after its kind"
        ),
        pytest.param({"finish_reason": {}}, {"finish_reason": "length"}, False, id="too long"),
        pytest.param({"finish_reason": {}}, {"finish_reason": "max_tokens"}, False, id="Anthropic's length"),
        pytest.param({"finish_reason": {}}, {"finish_reason": "stop"}, None, id="a plain end says nothing"),
        pytest.param(
            {"answer_schema": {}},
            {"answer": "[]", "response_format": '{"type": "json_object"}'},
            False,
            id="form broken",
        ),
        pytest.param(
            {"answer_schema": {}},
            {"answer": "{}", "response_format": '{"type": "json_object"}'},
            None,
            id="form kept says nothing",
        ),
        pytest.param(
            {"answer_schema": {}},
            {"answer": "[]", "response_format": '{"type": "json_object"}', "error": "Timeout"},
            None,
            id="no form in an error",
        ),
        pytest.param({"otherwise": {"success": True}}, {}, True, id="otherwise"),
        pytest.param(
            {"otherwise": {"success": True}}, {"error": "Timeout"}, None, id="otherwise, but an error"
        ),
        pytest.param({"function": {"call": f"{__name__}:brief"}}, {"answer": "yes"}, True, id="function"),
        pytest.param({"function": {"call": f"{__name__}:brief"}}, {}, None, id="function that can't tell"),
    ],
)
def test_a_rule_says_of_a_call(kind: Json, evidence: dict[str, Any], expected: bool | None) -> None:
    assert verdict(rule(**kind), **evidence) is expected


def test_the_first_rule_that_says_anything_decides_and_all_are_kept() -> None:
    rules = [rule(evaluation={"min_score": 0.5}), rule(feedback={}), rule(finish_reason={})]
    votes = votes_on_call(rules, CallEvidence(success=True, finish_reason="length", whole={}))
    assert (votes, votes.decision()) == (RuleVotes(yes=0b010, no=0b100), (1, True))


def test_an_outcome_keeps_its_source() -> None:
    feedback, function = rule(feedback={}), rule(function={"call": "a:b", "source": "unit tests"})
    sources = [source_of(feedback, "thumbs"), source_of(feedback, None), source_of(function, "thumbs")]
    assert [*sources, source_of(rule(finish_reason={}), None)] == [
        "thumbs",
        "feedback",
        "unit tests",
        "finish_reason",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("broken", r":broken raised ValueError on a call; let it [^:]*$", id="raises"),
        pytest.param("talkative", r":talkative returned str; it must return True, False or None", id="talks"),
    ],
)
def test_a_function_that_fails_is_named_without_the_call(name: str, message: str) -> None:
    with pytest.raises(CallLogError, match=message):
        verdict(rule(function={"call": f"{__name__}:{name}"}), answer="a secret")


def turn(seconds: float, text: str = "", **fields: Json) -> SessionCall:
    plain = {"key": text, "model": "small", "failed": False, "turn": text or None}
    return SessionCall(**{**plain, **fields}, time=int(seconds * 1e6))


def blamed(one: OutcomeRule, *calls: SessionCall) -> list[int]:
    return sorted(votes_on_session([one], calls))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("any", [0, 1], id="any"),
        pytest.param("same", [0], id="retried"),
        pytest.param("other", [0, 1], id="escalated"),
    ],
)
def test_a_call_asked_again_in_time_failed(model: str, expected: list[int]) -> None:
    retried = rule(retried={"within_s": 60, "model": model})
    calls = (turn(0, "a"), turn(30, "a"), turn(60, "a", model="large"), turn(500, "a"))
    assert blamed(retried, *calls) == expected


def test_a_retry_is_of_the_same_prompt_later_and_of_an_answer() -> None:
    retried = rule(retried={"within_s": 60})
    assert blamed(retried, turn(0, "a"), turn(10, "b"), turn(90, "a")) == []
    assert blamed(retried, turn(0, "a"), turn(0, "a", model="large")) == []
    assert blamed(retried, turn(0, "a", failed=True), turn(10, "a")) == []


def test_a_call_whose_next_turn_complains_failed() -> None:
    disliked = rule(next_turn={"within_s": 60, "rephrasing": False})
    calls = (turn(0, "2 + 2?"), turn(10, "That's wrong"), turn(20, "3 + 3?"), turn(300, "That is wrong"))
    assert blamed(disliked, *calls) == [0]


def test_a_call_whose_next_turn_says_the_same_in_other_words_failed() -> None:
    disliked = rule(next_turn={"within_s": 60, "complaint": False})
    calls = (
        turn(0, "sum these four numbers"),
        turn(9, "please sum these four numbers"),
        turn(12, "thanks a lot"),
    )
    assert blamed(disliked, *calls) == [0]


def test_an_agents_next_step_is_no_next_turn() -> None:
    disliked = rule(next_turn={"within_s": 60})
    assert blamed(disliked, turn(0, "That's wrong", key="a"), turn(5, "That's wrong", key="b")) == []


def test_the_settings_refuse_a_rule_after_otherwise() -> None:
    with pytest.raises(ConfigError, match="'otherwise' goes last"):
        parse_config("outcomes: {rules: [{otherwise: {success: true}}, {feedback: {}}]}")
