from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from router.calling.attempt import Attempt
from router.errors import CallLogError, ConfigError
from router.records import Json, Request
from router.settings.outcome_rules import OutcomeRule
from tests.services.killing import kill_amid_calls
from tests.services.provider import (
    KEY,
    Provider,
    Reply,
    answer,
    provider,
    rate_limit,
    refused,
    reset,
    server_error,
    tokens,
    wrong_key,
)
from tests.training.replaying.replay_calls import KEY_VARIABLE, config_of, plan_of
from training.reading.calls import read_calls
from training.replaying.run import replay_plan, unfinished
from training.spending.budget import ledger_of, read_lines, spent_in
from training.spending.paid_calls import CallTerms
from training.spending.tally import CallsMade

__all__ = ["provider"]

LONG = answer("word " * 40, usage=tokens(20, 40))
LONG_USD = (20 * 1 + 40 * 10) / 1e6


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "replayed.jsonl"


def replayed(provider: Provider, out: Path, prompts: int = 3, **terms: Json) -> CallsMade:
    whole = {"budget_usd": 1.0, "concurrency": 4, **terms}
    return replay_plan(
        plan_of(prompts, "small"), CallTerms(out=out, **whole), config_of(provider.api_base, "small")
    )


def asked(provider: Provider) -> Counter[str]:
    """How often each prompt was sent."""
    return Counter(request.body["messages"][0]["content"] for request in provider.requests)


def test_a_call_becomes_a_line_of_the_canonical_log_with_its_answer(provider: Provider, out: Path) -> None:
    provider.script("small", answer("One.", usage=tokens(12, 3)))
    done = replayed(provider, out, prompts=1)

    (line,) = read_lines(out)
    assert (line["model"], line["outcome_source"], line["input_tokens"]) == ("small", "replay", 12)
    assert line["cost_usd"] == pytest.approx(42e-6)
    assert line["answer"]["content"] == "One."
    assert (line["finish_reason"], "success" in line, "propensity" in line) == ("stop", False, False)
    assert done.answered == 1
    assert done.cost_usd == pytest.approx(42e-6)


def test_what_a_replay_writes_is_read_as_a_call_log(provider: Provider, out: Path, tmp_path: Path) -> None:
    fields = {"task_type": "sums", "tags": ("a",), "tools": [{"type": "function", "function": {"name": "f"}}]}
    plan = plan_of(3, "small", fields=fields)
    replay_plan(plan, CallTerms(out=out, budget_usd=1.0), config_of(provider.api_base, "small"))

    files = read_calls([str(out)], scratch=tmp_path / "scratch")

    rows = [row for frame in files.frames() for row in frame.to_pylist()]
    assert {row["prompt_key"] for row in rows} == {call.key for call in plan.calls}
    assert {(row["task_type"], row["outcome_source"], *row["tags"]) for row in rows} == {
        ("sums", "replay", "a")
    }


def test_the_outcome_rules_see_the_answers_of_a_replay(provider: Provider, out: Path, tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    provider.script("small", answer("no JSON"), answer('{"sum": 2}'))
    terms = CallTerms(out=out, budget_usd=1.0, concurrency=1)
    plan = plan_of(2, "small", fields={"response_format": form})
    replay_plan(plan, terms, config_of(provider.api_base, "small"))
    kinds: list[dict[str, Json]] = [{"answer_schema": {}}, {"otherwise": {"success": True}}]

    rules = [OutcomeRule.model_validate(kind) for kind in kinds]
    files = read_calls([str(out)], scratch=tmp_path / "scratch", rules=rules)

    found = {row["prompt_key"]: row["success"] for frame in files.frames() for row in frame.to_pylist()}
    assert [found[call.key] for call in plan.calls] == [False, True]


def test_the_chance_of_a_prompt_is_recorded(provider: Provider, out: Path) -> None:
    terms = CallTerms(out=out, budget_usd=1.0)
    replay_plan(plan_of(1, "small", drawn=0.1), terms, config_of(provider.api_base, "small"))
    assert read_lines(out)[0]["sampling_probability"] == 0.1


def test_one_place_says_whether_a_call_succeeded(provider: Provider, out: Path) -> None:
    def has_an_answer(request: Request, attempt: Attempt) -> bool | None:
        return attempt.answered

    replay_plan(
        plan_of(2, "small"),
        CallTerms(out=out, budget_usd=1.0),
        config_of(provider.api_base, "small"),
        outcome=has_an_answer,
    )
    assert [line["success"] for line in read_lines(out)] == [True, True]


def test_a_refusal_is_a_failure_of_the_models_own(provider: Provider, out: Path) -> None:
    provider.script("small", refused())
    assert replayed(provider, out, prompts=1).answered == 1
    (line,) = read_lines(out)
    assert (line["success"], line["error"]) == (False, "content_policy: ContentPolicyViolationError")
    assert "safety" not in out.read_text()


def test_the_budget_holds_with_32_in_flight(provider: Provider, out: Path) -> None:
    provider.script("small", LONG)
    budget = 40 * LONG_USD
    done = replayed(provider, out, prompts=100, budget_usd=budget, concurrency=32)

    paid = len(provider.requests) * LONG_USD
    assert 0.9 * budget < paid <= budget
    assert done.spent_usd == pytest.approx(paid)
    assert done.answered + done.over_budget == 100


def test_attempts_that_may_have_been_billed_count_in_full(provider: Provider, out: Path) -> None:
    provider.script("small", reset(), answer("One.", usage=tokens(12, 3)))
    done = replayed(provider, out, prompts=1)
    at_most = plan_of(1, "small").calls[0].at_most_usd
    assert done.cost_usd == pytest.approx(at_most + 42e-6)


def test_a_refused_connection_costs_nothing_and_is_named(provider: Provider, out: Path) -> None:
    provider.close()
    place = provider.api_base.removeprefix("http://").removesuffix("/v1")
    done = replayed(provider, out, prompts=20, budget_usd=plan_of(1, "small").calls[0].at_most_usd)

    reason = f"connection, {place} refuses connections"
    assert (done.cost_usd, done.spent_usd, done.over_budget) == (0.0, 0.0, 0)
    assert list(done.failed) == [f"small: {reason}"]
    assert done.given_up["small"].startswith(f"5 calls in a row failed (last: {reason}); ")


def test_a_failure_whose_retry_the_budget_can_not_bear_is_told_as_a_failure(
    provider: Provider, out: Path
) -> None:
    provider.script("small", reset())
    at_most = plan_of(1, "small").calls[0].at_most_usd
    done = replayed(provider, out, prompts=3, budget_usd=1.5 * at_most, concurrency=1)
    assert (done.failed, done.over_budget) == ({"small: connection": 1}, 2)
    assert done.unanswered_usd == pytest.approx(at_most)


def test_no_attempt_sends_its_request_twice(provider: Provider, out: Path) -> None:
    provider.script("small", reset(), answer("One.", usage=tokens(12, 3)))
    config = config_of(provider.api_base, "small")
    own = config.of("small").model_copy(update={"litellm_model": "hosted_vllm/small"})
    config = config.model_copy(update={"models": {"small": own}})
    done = replay_plan(plan_of(1, "small"), CallTerms(out=out, budget_usd=1.0), config)

    paid_attempts = [line for line in read_lines(ledger_of(out)) if line.get("cost_usd")]
    assert (done.answered, len(provider.requests), len(paid_attempts)) == (1, 2, 2)


def test_a_budget_that_bears_no_call_makes_none(provider: Provider, out: Path) -> None:
    done = replayed(provider, out, budget_usd=1e-9)
    assert (done.answered, done.over_budget, provider.requests) == (0, 3, ())


def test_a_rate_limit_is_waited_for_and_costs_nothing(provider: Provider, out: Path) -> None:
    provider.script("small", rate_limit(0), rate_limit(0), answer("One.", usage=tokens(12, 3)))
    done = replayed(provider, out, prompts=1)
    assert (done.answered, len(provider.requests)) == (1, 3)
    assert done.cost_usd == pytest.approx(42e-6)


def test_a_call_that_fails_leaves_no_line_and_is_tried_by_the_next_run(provider: Provider, out: Path) -> None:
    provider.script("small", *[server_error()] * 5, answer("One."))
    first = replayed(provider, out, prompts=1)
    assert (first.answered, first.failed, read_lines(out)) == (0, {"small: server": 1}, [])
    assert replayed(provider, out, prompts=1).answered == 1


def test_a_model_that_keeps_failing_is_given_up(provider: Provider, out: Path) -> None:
    provider.script("small", rate_limit(999))
    done = replayed(provider, out, prompts=20, concurrency=1)
    assert done.given_up == {
        "small": "5 calls in a row failed (last: rate_limit); 15 more calls were not made"
    }
    assert len(provider.requests) == 5


def test_a_refused_key_ends_a_model_at_once_and_is_not_shown(provider: Provider, out: Path) -> None:
    provider.script("small", wrong_key())
    done = replayed(provider, out, prompts=20, concurrency=1)
    assert done.given_up == {"small": "the provider refuses the key; 19 more calls were not made"}
    assert len(provider.requests) == 1
    assert KEY not in repr(done) + out.read_text() + ledger_of(out).read_text()


def test_attempts_are_spaced_by_the_rate(provider: Provider, out: Path) -> None:
    replayed(provider, out, prompts=5, per_minute=600)
    arrived = [request.arrived for request in provider.requests]
    assert max(arrived) - min(arrived) >= 0.35


def test_a_missing_key_is_told_before_anything_is_set_aside(
    provider: Provider, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match="api_key_env"):
        replayed(provider, out)
    assert not ledger_of(out).exists()


def test_a_second_run_makes_only_what_is_left(provider: Provider, out: Path) -> None:
    replayed(provider, out, prompts=3)
    assert len(unfinished(plan_of(5, "small").calls, out)) == 2
    replayed(provider, out, prompts=5)
    assert set(asked(provider).values()) == {1}
    assert len(provider.requests) == len(read_lines(out)) == 5


def test_an_output_of_something_else_is_left_alone(provider: Provider, out: Path) -> None:
    out.write_text("notes\nof mine")
    with pytest.raises(CallLogError, match="no earlier run wrote it"):
        replayed(provider, out)
    assert (out.read_text(), provider.requests) == ("notes\nof mine", ())


def test_killed_at_any_moment_it_goes_on_and_pays_twice_at_most_for_what_was_in_flight(
    provider: Provider, out: Path
) -> None:
    prompts, at_once, draw = 60, 4, random.Random(1)
    provider.script("small", Reply(text="One.", usage=tokens(20, 40), delay_s=0.05))
    budget = 2 * prompts * plan_of(1, "small").calls[0].at_most_usd
    kills = 0
    for _ in range(3):
        before = len(provider.requests)
        run = started(provider, out, prompts, budget, at_once)
        kill_amid_calls(run, provider, before, draw)
        kills += 1
    assert started(provider, out, prompts, budget, at_once).wait() == 0

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({line["prompt_key"] for line in lines}) == len(lines) == prompts
    again = sum(asked(provider).values()) - prompts
    assert 0 <= again <= kills * at_once
    paid = len(provider.requests) * LONG_USD
    assert paid <= spent_in(read_lines(ledger_of(out))) <= budget


def started(
    provider: Provider, out: Path, prompts: int, budget: float, at_once: int
) -> subprocess.Popen[bytes]:
    """A replay in a process of its own."""
    command = [sys.executable, "-m", "tests.training.replaying.replay_calls", provider.api_base, str(out)]
    environment = {**os.environ, KEY_VARIABLE: KEY}
    return subprocess.Popen([*command, str(prompts), str(budget), str(at_once)], env=environment)
