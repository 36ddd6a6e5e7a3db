from __future__ import annotations

import pytest

from router.calling.attempt import Attempt, ErrorKind, Failed

QUOTING = RuntimeError("the key sk-0123 may not ask 'who am I'")


def attempt(**fields: object) -> Attempt:
    whole = {"model": "m", "number": 1, "started": 0.0, "latency_s": 1.0, **fields}
    return Attempt(**whole)  # type: ignore[arg-type]


def test_the_response_is_put_together_once_and_only_when_asked_for() -> None:
    responses = iter(["whole", "again"])
    one = attempt(read=lambda: next(responses))
    assert (one.response, one.response) == ("whole", "whole")
    assert list(responses) == ["again"]


@pytest.mark.parametrize(("kind", "answered"), [(None, True), ("server", False), ("cancelled", False)])
def test_an_attempt_has_answered_unless_something_went_wrong(kind: ErrorKind | None, answered: bool) -> None:
    assert attempt(kind=kind).answered is answered


def test_an_attempt_shows_no_text_of_the_providers_and_no_response() -> None:
    text = repr(attempt(kind="server", error=QUOTING, read=lambda: "who am I"))
    assert "kind='server'" in text
    assert "sk-0123" not in text
    assert "who am I" not in text


def test_a_failure_tells_its_kind_and_class_only() -> None:
    failed = Failed(kind="authentication", error=QUOTING)
    assert failed.summary == "authentication: RuntimeError"
    assert "sk-0123" not in repr(failed)
