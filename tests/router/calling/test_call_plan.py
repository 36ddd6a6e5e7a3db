from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from router.calling.attempt import ErrorKind, Failed
from router.calling.call_plan import Try, Wait, plan_calls
from router.errors import CallFailed
from router.settings.sections import Calls


def failed(
    kind: ErrorKind = "server", *, retry_after_s: float | None = None, latency_s: float = 0.1
) -> Failed:
    error = RuntimeError(f"the provider's words on {kind}")
    return Failed(kind=kind, error=error, retry_after_s=retry_after_s, latency_s=latency_s)


def steps(
    failures: Sequence[Failed],
    *models: str,
    retries: Callable[[str], int] = lambda model: 0,
    draw: float = 1.0,
    **calls: object,
) -> list[str | float]:
    """What a plan says when the first calls fail and the next one answers: models, and seconds to wait."""
    plan = plan_calls(models, Calls.model_validate(calls), retries, lambda: draw)
    step, done, coming = next(plan), list[str | float](), iter(failures)
    while True:
        done.append(step.model if isinstance(step, Try) else step.seconds)
        if isinstance(step, Wait):
            step = next(plan)
        elif (failure := next(coming, None)) is not None:
            step = plan.send(failure)
        else:
            return done


def test_a_model_that_answers_ends_the_plan() -> None:
    assert steps([], "a", "b") == ["a"]


@pytest.mark.parametrize("kind", ["rate_limit", "timeout", "connection", "server"])
def test_what_may_be_over_in_a_moment_is_tried_again(kind: ErrorKind) -> None:
    assert steps([failed(kind)], "a", "b", retries=lambda model: 1) == ["a", 0.5, "a"]


def test_what_another_model_need_not_share_goes_to_it_at_once() -> None:
    assert steps([failed("context_window")], "a", "b", retries=lambda model: 1) == ["a", "b"]


@pytest.mark.parametrize("kind", ["authentication", "bad_request", "content_policy"])
def test_a_wrong_request_ends_the_plan_with_the_providers_own_error(kind: ErrorKind) -> None:
    with pytest.raises(RuntimeError, match=f"the provider's words on {kind}"):
        steps([failed(kind)], "a", "b")


@pytest.mark.parametrize("kind", ["authentication", "bad_request", "content_policy"])
def test_a_wrong_request_moves_on_where_the_settings_name_it(kind: ErrorKind) -> None:
    done = steps([failed(kind)], "a", "b", retries=lambda model: 1, also_fall_back_on=[kind])
    assert done == ["a", "b"]


def test_waits_double_up_to_the_longest() -> None:
    done = steps([failed()] * 5, "a", retries=lambda model: 9, backoff_s=1.0, max_backoff_s=5.0)
    assert done == ["a", 1.0, "a", 2.0, "a", 4.0, "a", 5.0, "a", 5.0, "a"]


def test_a_thousand_retries_do_not_overflow_the_wait() -> None:
    assert steps([failed()] * 1500, "a", retries=lambda model: 2000)[-2:] == [10.0, "a"]


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_a_random_part_of_the_wait_is_waited(draw: float, wait: float) -> None:
    done = steps([failed()], "a", retries=lambda model: 1, draw=draw, backoff_s=1.0)
    assert done == ["a", wait, "a"]


@pytest.mark.parametrize(
    ("retry_after_s", "wait"),
    [
        pytest.param(3.0, 3.0, id="longer than the backoff"),
        pytest.param(0.1, 0.5, id="shorter than the backoff"),
        pytest.param(10.0, 10.0, id="the longest we wait"),
    ],
)
def test_a_retry_after_makes_the_wait_longer(retry_after_s: float, wait: float) -> None:
    failure = failed("rate_limit", retry_after_s=retry_after_s)
    assert steps([failure], "a", "b", retries=lambda model: 1) == ["a", wait, "a"]


def test_a_retry_after_beyond_the_longest_wait_means_the_next_model() -> None:
    failure = failed("rate_limit", retry_after_s=10.1)
    assert steps([failure], "a", "b", retries=lambda model: 1) == ["a", "b"]


@pytest.mark.parametrize("kind", ["timeout", "server"])
def test_a_failure_that_took_long_is_not_repeated(kind: ErrorKind) -> None:
    assert steps([failed(kind, latency_s=600.0)], "a", "b", retries=lambda model: 1) == ["a", "b"]


def test_each_model_has_its_own_number_of_retries() -> None:
    retries = {"a": 0, "b": 2}
    done = steps([failed()] * 3, "a", "b", retries=lambda model: retries[model], draw=0.0)
    assert done == ["a", "b", 0.0, "b", 0.0, "b"]


def test_retries_are_asked_for_again_after_each_failure() -> None:
    left = iter([3, 0])
    assert steps([failed()] * 2, "a", "b", retries=lambda model: next(left), draw=0.0) == [
        "a",
        0.0,
        "a",
        "b",
    ]


def test_attempts_are_numbered_over_all_models() -> None:
    plan = plan_calls(["a", "b"], Calls(), lambda model: 0, lambda: 0.0)
    assert next(plan) == Try(model="a", number=1)
    assert plan.send(failed()) == Try(model="b", number=2)


def test_when_all_have_failed_the_last_error_is_the_cause() -> None:
    last = failed("timeout")
    with pytest.raises(CallFailed, match=r"after 2 attempt\(s\) \(a: server: RuntimeError; b: ") as caught:
        steps([failed(), last], "a", "b")
    assert caught.value.__cause__ is last.error
    assert caught.value.failures == (("a", "server: RuntimeError"), ("b", "timeout: RuntimeError"))


def test_a_plan_without_models_is_a_callers_slip() -> None:
    with pytest.raises(ValueError, match="names at least one model"):
        steps([])


def test_a_failure_shows_no_text_of_the_providers() -> None:
    assert "words" not in repr(failed())
