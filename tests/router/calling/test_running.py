from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from router.calling.attempt import Attempt, Failed
from router.calling.call_plan import Try
from router.calling.cool_down import CoolDowns
from router.calling.running import Prepared, RunningAttempt, Watch
from router.models.litellm_import import litellm_module
from router.settings.sections import Calls, Price

PRICE = Price(input_usd_per_million=1.0, output_usd_per_million=1.0)
FAILED = Failed(kind="server", error=RuntimeError("no"))


class Bench:
    """One attempt under way, with a clock that the test moves."""

    def __init__(self, **call: object) -> None:
        self.now = 50.0
        self.attempts: list[Attempt] = []
        self.downs = CoolDowns(Calls.model_validate({"cool_down": {"failures": 1}}), lambda: self.now)
        watch = Watch(
            observe=self.attempts.append,
            cool_downs=self.downs,
            unix=lambda: 1.7e9,
            elapsed=lambda: self.now,
        )
        prepared = Prepared(arguments={"api_key": "sk-0123"}, **call)  # type: ignore[arg-type]
        self.running = RunningAttempt(Try(model="m", number=2), prepared, watch)


def response() -> object:
    usage = litellm_module().Usage(prompt_tokens=1000, completion_tokens=500, total_tokens=1500)
    return SimpleNamespace(usage=usage, choices=[SimpleNamespace(finish_reason="stop")])


def test_an_answer_is_reported_with_its_time_tokens_and_cost() -> None:
    bench = Bench(price=PRICE, notes=("a note",))
    bench.now += 2.5
    bench.running.answered(response())
    (attempt,) = bench.attempts
    assert (attempt.model, attempt.number, attempt.started, attempt.latency_s) == ("m", 2, 1.7e9, 2.5)
    assert attempt.usage.input_tokens == 1000
    assert attempt.cost_usd == pytest.approx(0.0015)
    assert (attempt.finish_reason, attempt.notes) == ("stop", ("a note",))


def test_a_failure_is_reported_and_tells_the_plan_how_long_it_took() -> None:
    bench = Bench()
    bench.now += 4.0
    assert bench.running.failed(FAILED).latency_s == 4.0
    assert (bench.attempts[0].kind, bench.attempts[0].error) == ("server", FAILED.error)
    assert list(bench.downs.reasons()) == ["m"]


def test_a_broken_stream_is_reported_as_one() -> None:
    bench = Bench(stream=True)
    bench.running.note_first_token()
    bench.running.failed(FAILED, "broken_stream")
    assert (bench.attempts[0].kind, bench.attempts[0].stream) == ("broken_stream", True)


def test_the_time_to_the_first_token_runs_from_the_start() -> None:
    bench = Bench(stream=True)
    bench.now += 0.25
    bench.running.note_first_token()
    bench.now += 1.0
    bench.running.finished()
    assert (bench.attempts[0].first_token_s, bench.attempts[0].latency_s) == (0.25, 1.25)


def test_a_stream_without_a_piece_has_no_response() -> None:
    bench = Bench(stream=True)
    bench.running.finished()
    assert bench.attempts[0].answered
    assert bench.attempts[0].response is None


def test_being_cancelled_says_nothing_about_the_model() -> None:
    bench = Bench()
    bench.downs.failed("m", "server")
    bench.running.cancelled()
    assert bench.attempts[0].kind == "cancelled"
    assert list(bench.downs.reasons()) == ["m"]


def test_an_answer_ends_the_models_cool_down() -> None:
    bench = Bench()
    bench.downs.failed("m", "server")
    bench.running.answered(response())
    assert bench.downs.reasons() == {}


def test_an_attempt_ends_once_however_many_say_so() -> None:
    bench = Bench()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: bench.running.cancelled(), range(64)))
    bench.running.answered(response())
    assert len(bench.attempts) == 1


def test_a_call_shows_no_argument() -> None:
    assert "sk-0123" not in repr(Prepared(arguments={"api_key": "sk-0123"}))
