from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from tests.training.comparing.report.reports import exact, of, one_model
from training.comparing.report.summary import headline_of
from training.recommending import Code
from training.statistics.intervals import UNKNOWN, Interval


def test_the_answer_names_what_runs_today_and_every_loss() -> None:
    answer = headline_of(exact())
    assert (answer.today, answer.model) == ("best single", "gpt-4o")
    assert [one.against for one in answer.losses] == ["mean per task type", "gpt-4o by length"]


def test_the_change_is_told_with_its_interval_and_its_levels() -> None:
    answer = headline_of(exact())
    assert (answer.cost.value, answer.cost.interval, answer.cost.levels) == (
        "-$2.38",
        "-$2.55 to -$2.21",
        "from $4.10 to $1.72",
    )
    assert (answer.failures.value, answer.failures.interval, answer.failures.levels) == (
        "+6.1",
        "-3.7 to +15.9",
        "from 158 to 164",
    )


@pytest.mark.parametrize(
    ("failures", "word"),
    [
        pytest.param(of(-5, 2), "more successful", id="better"),
        pytest.param(of(5, 2), "less successful", id="worse"),
        pytest.param(of(1, 2), "not shown to differ", id="undecided"),
        pytest.param(of(0, 0), "no change", id="the same"),
        pytest.param(UNKNOWN, "unknown", id="unknown"),
        pytest.param(replace(UNKNOWN, value=1.0), "not shown to differ", id="one group"),
    ],
)
def test_a_change_is_claimed_only_as_far_as_its_interval_goes(failures: Interval, word: str) -> None:
    case = exact()
    case = replace(case, change=replace(case.change, failures_per_1000=failures))
    assert headline_of(case).failures.word == word


def test_what_is_unknown_is_said_to_be() -> None:
    cost = headline_of(one_model()).cost
    assert (cost.tone, cost.value, cost.interval) == (None, "unknown", "not known from this log")


def test_a_policy_that_is_not_among_the_compared_ones_has_no_levels() -> None:
    case = exact()
    assert headline_of(replace(case, change=replace(case.change, today="another"))).cost.levels == ""


def test_the_change_is_given_in_per_cent_and_per_month_where_the_volume_is_known() -> None:
    assert headline_of(exact()).cost.month == ""
    change = replace(
        exact().change,
        cost_change=of(-0.58, 0.04),
        requests_per_month=50_000.0,
        usd_per_month=of(-119.0, 8.5),
    )
    cost = headline_of(replace(exact(), change=change)).cost
    assert (cost.share, cost.month) == ("-58 % [-62, -54]", "-$119.00 a month at 50,000 requests")


def test_no_conclusion_is_drawn_from_few_prompts() -> None:
    cost = headline_of(replace(exact(), clusters=20)).cost
    assert (cost.tone, cost.word) == ("undecided", "not shown to differ")


@pytest.mark.parametrize("code", get_args(Code))
def test_every_recommendation_has_a_title(code: Code) -> None:
    case = exact()
    case = replace(case, recommendation=replace(case.recommendation, code=code))
    assert headline_of(case).title


def test_what_runs_today_stands_first_among_the_claims() -> None:
    case = exact()
    assert headline_of(case).claims[0].against in (case.reference, case.verdict[0].against)
