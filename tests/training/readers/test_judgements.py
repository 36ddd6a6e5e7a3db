"""What counts as a judgement of an answer, and whose counts first."""

from __future__ import annotations

import pytest

from router.records import Json
from training.readers.judgements import (
    Judgement,
    error_class,
    expected,
    judgement_of,
    with_error,
    with_judgements,
)
from training.readers.litellm_records import NOT_THE_MODELS
from training.readers.protocol import Call


@pytest.mark.parametrize(
    ("value", "good", "grade"),
    [
        (True, True, None), (False, False, None), ("Thumbs up", True, None), ("INCORRECT", False, None),
        (0.25, None, 0.25), (1, None, 1.0),
    ],
)  # fmt: skip
def test_flags_and_words_are_good_or_bad_and_numbers_a_grade(
    value: Json, good: bool | None, grade: float | None
) -> None:
    assert judgement_of("feedback", "quality", value) == Judgement(judge="feedback", good=good, grade=grade)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", 4), ("quality", -0.1), ("quality", float("nan")), ("quality", "violet"),
        ("quality", None), ("quality", ["yes"]), ("hallucination", True), ("Toxicity", 0.1),
        ("output_tokens", 1), ("latency", 0.5),
    ],
)  # fmt: skip
def test_what_does_not_tell_good_from_bad_is_no_verdict(name: str, value: Json) -> None:
    assert judgement_of("evaluation", name, value) is None


@pytest.mark.parametrize(
    ("wanted", "answer", "met"),
    [
        pytest.param("Paris", "It is paris.", True, id="in it"),
        pytest.param("Paris", "It is Parisian.", False, id="part of a word"),
        pytest.param(42, "The answer is 42", True, id="a number"),
        pytest.param("a long text " * 6, "another", None, id="long"),
        pytest.param(["a", "b"], "a", None, id="no text"),
        pytest.param("Paris", None, None, id="no answer"),
        pytest.param("", "Paris", None, id="nothing expected"),
    ],
)
def test_an_answer_meets_an_expectation_that_it_contains(
    wanted: Json, answer: str | None, met: bool | None
) -> None:
    found = expected(wanted, answer)
    assert (found and found.good) == met


LONG = "ContextWindowExceededError"
CALL: Call = {"model": "m", "success": False, "outcome_source": "error"}


def test_the_most_trusted_judge_counts_and_before_an_error() -> None:
    given = [judgement_of("evaluation", "a", False), None, judgement_of("annotation", "b", True)]
    assert with_judgements(CALL, given) == {"model": "m", "success": True, "outcome_source": "annotation"}


def test_of_several_judgements_all_must_be_good_and_grades_are_averaged() -> None:
    given = [judgement_of("feedback", "a", value) for value in (True, "no", 0.5, 1.0)]
    assert with_judgements(CALL, given) == {
        "model": "m", "success": False, "score": 0.75, "outcome_source": "feedback",
    }  # fmt: skip


def test_without_a_judgement_the_call_stays_as_it_is() -> None:
    assert with_judgements(CALL, [None]) == CALL


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        pytest.param(["openai.RateLimitError"], "RateLimitError", id="a path"),
        pytest.param(["timeout"], "timeout", id="a word"),
        pytest.param(["500"], "500", id="a code"),
        pytest.param([None, "failed with litellm.BadRequestError: x"], "BadRequestError", id="in a message"),
        pytest.param(["the prompt was: hello"], None, id="a text of no class is not repeated"),
        pytest.param(["Error code: 401 - {'error': {}}"], "401", id="a client's message"),
        pytest.param(["Error code: 400 - {'code': 'context_length_exceeded'}"], LONG, id="a code in it"),
        pytest.param(["400", "This model's maximum context length is 8 tokens"], LONG, id="a later message"),
        pytest.param(["BadRequestError('prompt is too long: 9 > 8')"], LONG, id="within another class"),
        pytest.param(["ValidationException", "Input is too long for requested model"], LONG, id="Bedrock"),
        pytest.param(["content_filter"], "ContentPolicyViolationError", id="a filter"),
    ],
)
def test_an_errors_class_is_found(texts: list[Json], found: str | None) -> None:
    assert error_class(*texts) == found


def test_an_error_of_the_caller_is_set_apart() -> None:
    for name in ("401", "AuthenticationError", "litellm.AuthenticationError", "ImageFetchError", "422"):
        assert with_error(CALL, name) is NOT_THE_MODELS
