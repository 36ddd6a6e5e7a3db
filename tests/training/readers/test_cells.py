from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from router.records import Json
from training.readers.cells import (
    boolean,
    chat_messages,
    drop_null_members,
    excerpt,
    identifier,
    json_cell,
    microseconds,
    number,
    parse_json,
    tag_list,
)

NOON = 1_714_564_800


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2024-05-01T12:00:00Z", id="with a zone"),
        pytest.param("2024-05-01 12:00:00", id="without a zone: UTC"),
        pytest.param("2024-05-01T14:00:00+02:00", id="another zone"),
        pytest.param("2024-05-01 12:00:00 UTC", id="as BigQuery writes it"),
        pytest.param(NOON, id="seconds"),
        pytest.param(float(NOON), id="seconds as a float"),
        pytest.param(str(NOON), id="seconds as text"),
        pytest.param(NOON * 1000, id="milliseconds"),
        pytest.param(Decimal(NOON), id="decimal seconds"),
        pytest.param(datetime(2024, 5, 1, 12, tzinfo=UTC), id="native"),
        pytest.param(datetime(2024, 5, 1, 12), id="native without a zone"),
    ],
)
def test_a_time_is_read_in_every_form_that_logs_hold(value: object) -> None:
    assert microseconds(value) == NOON * 1_000_000


def test_a_date_is_its_first_moment() -> None:
    assert microseconds(date(1970, 1, 2)) == 86_400_000_000


@pytest.mark.parametrize("value", ["yesterday", True, 1e300, float("inf"), [1], "2024-13-01"])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        microseconds(value)


@pytest.mark.parametrize("clean", [boolean, microseconds, number])
@pytest.mark.parametrize("value", [None, "", "null", "NaN", " none "])
def test_null_words_are_null(clean: Json, value: object) -> None:
    assert clean(value) is None


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "TRUE", "yes", "1", "pass", "Thumbs up", "👍"])
def test_every_spelling_of_true_is_true(value: object) -> None:
    assert boolean(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "No", "0", "failed", "thumbs-down", "👎"])
def test_every_spelling_of_false_is_false(value: object) -> None:
    assert boolean(value) is False


@pytest.mark.parametrize("value", ["maybe", "fine?", 2, 0.5, []])
def test_a_doubtful_truth_value_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not true or false"):
        boolean(value)


@pytest.mark.parametrize(("value", "read"), [("$0.0021", 0.0021), ("85%", 0.85), (" 85.5 % ", 0.855)])
def test_dollars_and_percent_are_read_with_their_sign(value: str, read: float) -> None:
    assert number(value) == pytest.approx(read)


@pytest.mark.parametrize("value", [True, "1,5", "$", "%", "€5", [], 10**400])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number(value)


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        pytest.param(["a", "b"], ["a", "b"], id="list"),
        pytest.param('["a", "b"]', ["a", "b"], id="JSON text"),
        pytest.param("a, b", ["a", "b"], id="commas"),
        pytest.param("", [], id="empty text"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_tags_are_read_from_a_list_or_a_text(value: object, tags: object) -> None:
    assert tag_list(value) == tags


@pytest.mark.parametrize("value", [{"a": 1}, [1], '["a"', 3])
def test_what_is_no_list_of_texts_is_refused_as_tags(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a list of texts|is broken JSON"):
        tag_list(value)


def test_a_numeric_identifier_becomes_text() -> None:
    assert (identifier(7), identifier("x"), identifier("")) == ("7", "x", None)


def test_a_truth_value_is_no_identifier() -> None:
    with pytest.raises(ValueError, match="is not text"):
        identifier(True)


@pytest.mark.parametrize("value", [{"role": "user"}, ["hi"], [{"content": "hi"}], [{"role": 1}]])
def test_messages_without_roles_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a list of objects with a role"):
        chat_messages(value)


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert parse_json(r'["a\ud800b"]') == (["a\ufffdb"], True)


def test_a_surrogate_pair_stays_one_character() -> None:
    assert parse_json(r'["\ud83d\ude00"]') == (["\U0001f600"], False)


def test_a_nul_character_is_kept() -> None:
    assert parse_json(r'"a\u0000b"') == ("a\0b", False)


@pytest.mark.parametrize("text", ["{bad", "", "[" * 100_000])
def test_broken_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)


@pytest.mark.parametrize("value", [None, "", "null", "[]", [], {}, float("nan")])
def test_an_empty_json_cell_holds_nothing(value: object) -> None:
    assert json_cell(value, chat_messages) == (None, False)


def test_a_json_cell_keeps_its_own_text() -> None:
    text = '[ {"role": "user"} ]'
    assert json_cell(text, chat_messages) == (([{"role": "user"}], text), False)


def test_null_members_go_but_empty_content_stays() -> None:
    message = {"role": "assistant", "content": None, "name": None, "parts": [{"text": "x", "url": None}]}
    assert drop_null_members(message) == {"role": "assistant", "content": None, "parts": [{"text": "x"}]}


def test_an_excerpt_is_short_and_safe_to_print() -> None:
    shown = excerpt("\x1b[31m" + "x" * 500)
    assert "\x1b" not in shown
    assert len(shown) < 100


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1790011212345", id="reads as a date of 1790"),
        pytest.param("1790011212.345", id="seconds"),
        pytest.param(" 1790011212345 ", id="spaces"),
        pytest.param("1.790011212345e12", id="exponent"),
    ],
)
def test_a_time_of_digits_is_seconds_or_milliseconds_since_1970(text: str) -> None:
    assert microseconds(text) == 1_790_011_212_345_000


def test_eight_digits_are_a_date() -> None:
    assert microseconds("20260928") == microseconds("2026-09-28")


def test_digits_grouped_by_underscores_are_no_number() -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number("1_000")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NOON * 10**6, id="microseconds"),
        pytest.param(NOON * 10**9, id="nanoseconds"),
        pytest.param(str(NOON * 10**9), id="nanoseconds as text"),
        pytest.param("Wed, 01 May 2024 12:00:00 GMT", id="RFC 2822"),
        pytest.param("1 May 2024 12:00:00 +0000", id="RFC 2822 without the day"),
        pytest.param("2024-05-01T12:00:00.000000000Z", id="nine digits"),
        pytest.param("2024-05-01 12:00:00+00", id="as PostgreSQL writes it"),
        pytest.param("2024-05-01t12:00:00z", id="in small letters"),
    ],
)
def test_a_time_is_read_in_the_forms_of_more_logs(value: object) -> None:
    assert microseconds(value) == NOON * 1_000_000


@pytest.mark.parametrize(
    "value", ["31/03/2026 16:28", "03/31/2026", "31 Foo 2026 10:00", "Tue, 99 Mar 2026 10:00"]
)
def test_a_time_of_two_readings_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        microseconds(value)


def test_a_list_of_one_value_is_the_value() -> None:
    assert (number([0.5]), boolean([True]), number(["1"])) == (0.5, True, 1.0)
    for value in ([], [0.5, 1]):
        with pytest.raises(ValueError, match="is not a number"):
            number(value)
