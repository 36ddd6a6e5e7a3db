from __future__ import annotations

import pytest

from router.errors import ConfigError
from router.records import Json
from training.comparing.report.gate import Gate, failures, parse_gate

REPORT: dict[str, Json] = {
    "cost_at_equal_quality": {"value": 0.7, "ci_low": 0.5, "ci_high": 1.2, "above": 0.1},
    "quality_at_equal_cost": {"value": None, "ci_low": None, "ci_high": None, "above": None},
    "policies": [
        {"name": "keyword heuristic", "success_difference": {"interval": {"ci_low": -0.01}}},
        {"name": "always vendor/model-4.1 [x]", "shares": {"model-4.1": 0.25}},
        {"name": "a > b", "prompts": 7},
    ],
    "slices": [
        {"dimension": "tag", "name": "code", "prompts": 40},
        {"dimension": "task type", "name": "code", "prompts": 60},
        {"dimension": "language", "name": "de", "prompts": 12},
        {"dimension": "confidence", "name": "70 % to 80 %", "prompts": 9},
    ],
    "ranking": None,
    "promise": {"kept": False},
    "calibration": {"bins": [{"success": "much"}]},
}


def sentences(*texts: str) -> list[str]:
    return failures([parse_gate(text) for text in texts], REPORT)


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        pytest.param("cost_at_equal_quality.ci_high > 1", "1.2", id="the issue's own"),
        pytest.param("  cost_at_equal_quality.ci_high>1  ", "1.2", id="spaces are free"),
        pytest.param(
            "policies[keyword heuristic].success_difference.interval.ci_low < 0", "-0.01", id="name"
        ),
        pytest.param("policies[0].success_difference.interval.ci_low < 0", "-0.01", id="index"),
        pytest.param('policies["always vendor/model-4.1 [x]"].shares[model-4.1] <= .25', "0.25", id="quotes"),
        pytest.param("policies[a > b].prompts != 1e1", "7", id="an operator in a name"),
        pytest.param("slices[task type: code].prompts == 60", "60", id="a slice by dimension and name"),
        pytest.param("slices[de].prompts >= 12", "12", id="a slice by a name that is its own"),
        pytest.param("slices[70% to 80%].prompts > 8", "9", id="a slice as it was named before"),
        pytest.param("promise.kept < 1", "0", id="false is 0"),
    ],
)
def test_a_condition_that_holds_fails_with_the_value(condition: str, value: str) -> None:
    assert sentences(condition) == [f"{condition.strip()}: it is {value}"]


@pytest.mark.parametrize("operator", [">", "<", "!="])
def test_a_condition_that_does_not_hold_passes(operator: str) -> None:
    assert sentences(f"cost_at_equal_quality.value {operator} 0.7") == []


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        pytest.param("quality_at_equal_cost.value < -1", "unknown, infinite", id="null is no pass"),
        pytest.param("ranking.apgr.value < 0.5", "ranking.apgr.value is null", id="null on the way"),
        pytest.param("policies[keyword].prompts < 1", "did you mean keyword heuristic", id="near name"),
        pytest.param("policies[zzz].prompts < 1", "there are keyword heuristic, always", id="no near name"),
        pytest.param("policies[9].prompts < 1", "there is no '9' in policies", id="no such index"),
        pytest.param("slices[code].prompts < 1", "write tag: code or task type: code", id="two of a name"),
        pytest.param("calibration.bins[0].success < 1", "is not a number in this report", id="no number"),
        pytest.param("calibration.brier < 1", "there is no 'brier' in calibration", id="not in this report"),
    ],
)
def test_what_the_report_does_not_say_fails_with_the_reason(condition: str, why: str) -> None:
    (sentence,) = sentences(condition)
    assert sentence.startswith(f"{condition}: ")
    assert why in sentence


def test_each_condition_that_fails_has_its_sentence_in_order() -> None:
    failing = sentences("promise.kept < 1", "promise.kept > 0", "slices[de].prompts < 30")
    assert [sentence.split(":")[0] for sentence in failing] == [
        "promise.kept < 1",
        "slices[de].prompts < 30",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "a path into report.json comes first", id="empty"),
        pytest.param("> 1", "a path into report.json comes first", id="no path"),
        pytest.param("router.success.value", "after the path comes one of", id="no operator"),
        pytest.param("router.success.value > high", "not ' > high'", id="no number"),
        pytest.param("router.success.value => 1", "not ' => 1'", id="no such operator"),
        pytest.param("router.success.value > 1 and prompts > 2", "and a number", id="one condition only"),
        pytest.param("router..success > 1", "after the path comes one of", id="two dots"),
        pytest.param("router.success.value > nan", "and a number", id="not a number"),
        pytest.param("router.succes.value < 1", "did you mean success or", id="near key"),
        pytest.param("router.success_difference.ci_low < 0", "did you mean interval.ci_low", id="one deeper"),
        pytest.param("zzz.value < 1", "there are format, method", id="all keys"),
        pytest.param("router.success < 1", "it has the parts value, ci_low, ci_high, above", id="no leaf"),
        pytest.param("policies > 1", r"as in policies\[NAME\]", id="a list"),
        pytest.param("policies.success.value > 1", r"as in policies\[NAME\].success", id="a list, no name"),
        pytest.param("verdict[0].text > 1", "verdict\\[0\\].text is not a number", id="a text"),
        pytest.param("prompts.value > 1", "prompts has no parts", id="beyond a leaf"),
    ],
)
def test_a_wrong_condition_is_refused_before_anything_runs(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_gate(text)


def test_the_error_shows_how_it_is_written() -> None:
    with pytest.raises(ConfigError, match=r"for example 'cost_at_equal_quality\.ci_high > 1'"):
        parse_gate("speed")


def test_an_operator_must_be_known() -> None:
    with pytest.raises(ValueError, match="operator must be one of"):
        Gate(text="", path=("prompts",), operator="=", number=1.0)  # type: ignore[arg-type]
