from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from router.calling.attempt import ErrorKind
from router.calling.cool_down import CoolDowns
from router.settings.sections import Calls

CHAIN = ("a", "b")


class Line:
    """Cool-downs with a clock that the test moves."""

    def __init__(self, **rules: object) -> None:
        self.now = 1000.0
        cool_down = {"failures": 3, "within_s": 60.0, "seconds": 30.0, **rules}
        also = cool_down.pop("also", [])
        settings = Calls.model_validate({"cool_down": cool_down, "also_fall_back_on": also})
        self.downs = CoolDowns(settings, lambda: self.now)

    def fail(self, times: int, kind: ErrorKind = "server", *, every_s: float = 0.0) -> None:
        for _ in range(times):
            self.downs.failed("a", kind)
            self.now += every_s

    @property
    def cooling(self) -> list[str]:
        return list(self.downs.reasons())


def test_a_model_that_works_is_never_left_alone() -> None:
    line = Line()
    line.downs.succeeded("a")
    assert line.cooling == []
    assert line.downs.available(CHAIN) == CHAIN


def test_enough_failures_start_a_cool_down() -> None:
    line = Line()
    line.fail(2)
    assert line.cooling == []
    line.fail(1)
    assert line.cooling == ["a"]
    assert line.downs.available(CHAIN) == ("b",)


@pytest.mark.parametrize("kind", ["rate_limit", "timeout", "connection", "server", "broken_stream"])
def test_what_is_the_models_fault_counts(kind: ErrorKind) -> None:
    line = Line()
    line.fail(3, kind)
    assert line.cooling == ["a"]


@pytest.mark.parametrize(
    "kind", ["context_window", "bad_request", "content_policy", "cancelled", "authentication"]
)
def test_what_is_the_requests_fault_does_not_count(kind: ErrorKind) -> None:
    line = Line()
    line.fail(9, kind)
    assert line.cooling == []


def test_a_refused_key_counts_where_another_model_is_tried_after_it() -> None:
    line = Line(also=["authentication"])
    line.fail(3, "authentication")
    assert line.cooling == ["a"]


def test_failures_far_apart_do_not_count_together() -> None:
    line = Line()
    line.fail(9, every_s=30.0)
    assert line.cooling == []


def test_failures_within_the_window_count_together() -> None:
    line = Line()
    line.fail(3, every_s=29.0)
    assert line.cooling == ["a"]


def test_an_answer_in_between_starts_the_count_anew() -> None:
    line = Line()
    line.fail(2)
    line.downs.succeeded("a")
    line.fail(2)
    assert line.cooling == []


def test_no_failures_allowed_means_no_cool_down() -> None:
    line = Line(failures=0)
    line.fail(9)
    assert line.cooling == []


def test_a_cool_down_ends_by_itself() -> None:
    line = Line()
    line.fail(3)
    line.now += 29.9
    assert line.cooling == ["a"]
    line.now += 0.1
    assert line.cooling == []


def test_failures_during_a_cool_down_make_it_no_longer() -> None:
    line = Line()
    line.fail(3)
    line.now += 20
    line.fail(3)
    line.now += 10
    assert line.cooling == []


def test_after_a_cool_down_one_failure_starts_the_next() -> None:
    line = Line()
    line.fail(3)
    line.now += 1000
    line.fail(1)
    assert line.cooling == ["a"]


def test_after_a_cool_down_one_answer_clears_the_model() -> None:
    line = Line()
    line.fail(3)
    line.now += 31
    line.downs.succeeded("a")
    line.fail(2)
    assert line.cooling == []


def test_models_cool_down_one_by_one() -> None:
    line = Line(failures=1)
    line.fail(1)
    line.downs.failed("b", "timeout")
    assert line.cooling == ["a", "b"]
    line.downs.succeeded("a")
    assert line.cooling == ["b"]


def test_where_all_cool_down_all_are_available() -> None:
    line = Line(failures=1)
    line.fail(1)
    line.downs.failed("b", "timeout")
    assert line.downs.available(CHAIN) == CHAIN


def test_the_reason_tells_what_failed_and_for_how_long() -> None:
    line = Line()
    line.fail(3, "rate_limit")
    line.now += 18
    assert line.downs.reasons() == {"a": "keeps failing (last: rate_limit), left alone for 12 s more"}


def test_the_time_in_cool_down_adds_up_over_answers_and_further_cool_downs() -> None:
    line = Line()
    line.fail(3)
    line.now += 10.0
    assert line.downs.cooled_s() == {"a": 10.0}
    line.now += 100.0
    assert line.downs.cooled_s() == {"a": 30.0}
    line.fail(1)
    line.now += 5.0
    line.downs.succeeded("a")
    line.now += 5.0
    assert line.downs.cooled_s() == {"a": 35.0}


def test_threads_share_the_records() -> None:
    line = Line(failures=1000)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: line.fail(1), range(999)))
    assert line.cooling == []
    line.fail(1)
    assert line.cooling == ["a"]
