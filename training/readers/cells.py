"""Parses the single values of a log, in every form that logs write them.

A value of another type raises ValueError, whose text says which one it should have.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import orjson

from router.effort import effort_word
from router.records import Json

_NULL_WORDS = frozenset({"", "nan", "null", "none"})
_GOOD = frozenset(
    "true yes y good great correct pass passed positive success successful helpful resolved relevant safe "
    "accepted like liked upvote thumbs_up thumbsup up 👍".split()
)
_BAD = frozenset(
    "false no n bad poor wrong incorrect fail failed negative failure unsuccessful unhelpful unresolved "
    "irrelevant unsafe rejected dislike disliked downvote thumbs_down thumbsdown down 👎".split()
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Sequence[tuple[float, float]] = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A time of at least so many units is in units of which a second has so many: nano-, micro-, milliseconds."""
_EXCERPT = 80

dump_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Shortest JSON text of a value, with NaN and infinity as Python writes them."""


def of_texts_only(value: Json) -> bool:
    """Whether a value is messages of a role and a text each: of these both JSON encoders write the same."""
    return isinstance(value, list) and all(
        isinstance(one, dict) and len(one) == 2 and type(one.get("content")) is type(one.get("role")) is str
        for one in value
    )


def _json_text(value: Json) -> str:
    """What `dump_json` returns, of most chats in a tenth of the time."""
    if of_texts_only(value):
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # half a surrogate pair
            pass
    return dump_json(value)


def parse_json(text: str | bytes) -> tuple[Json, bool]:
    """The value of a JSON text, and whether a lone surrogate in it was replaced by U+FFFD.

    Raises:
        UnicodeDecodeError: not UTF-8.
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(text), False
    except orjson.JSONDecodeError:
        pass  # NaN, lone surrogates and huge integers are legal for Python's own parser only
    try:
        value = json.loads(text if isinstance(text, str) else text.decode())
        plain = dump_json(value)
        if _SURROGATE.search(plain) is None:
            return value, False
        return json.loads(_SURROGATE.sub("\ufffd", plain)), True
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def excerpt(value: object) -> str:
    """The first characters of a value, on one line and without control sequences for a terminal."""
    if value is None:
        return "(nothing)"
    text = value if isinstance(value, str) else repr(value)
    short = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "..."
    return repr(short) if isinstance(value, str) else short.encode("ascii", "backslashreplace").decode()


def drop_null_members(value: Json) -> Json:
    """A value without the null members that Parquet adds to the objects of a list; a null `content` stays."""
    if isinstance(value, dict):
        kept = {name: drop_null_members(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if member is not None or name == "content"}
    if isinstance(value, list):
        return [drop_null_members(member) for member in value]
    return value


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def plain_text(value: object) -> str | None:
    """Text, or None if there is none."""
    if isinstance(value, str):
        return value or None
    if _is_null(value):
        return None
    if isinstance(value, bytes):
        return _decoded(value) or None
    raise ValueError("is not text")


def identifier(value: object) -> str | None:
    """An identifier: text, or a number from a database."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not _is_null(value):
        return str(value)
    return plain_text(value)


def stated_effort(value: object) -> str | None:
    """A reasoning effort: a word, or a number of thinking tokens; None if it is left to the provider.

    Raises:
        ValueError: it is neither, or holds more than one word.
    """
    text = identifier(value)
    if text is not None and len(text.split()) > 1:
        raise ValueError("is no reasoning effort")
    return None if text is None else effort_word(value if isinstance(value, int | float) else text)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError("is not valid UTF-8") from error


def _only(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_WITH_COMMA = re.compile(r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+(e[+-]?\d+)?\s*%?\s*", re.IGNORECASE | re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?\s*%?", re.ASCII)
"""A number as text whose thousands are set off by commas: 1,234.5."""


class DecimalComma(str):
    """A number as text with a decimal comma; `number` reads it, and as text it stays as it is."""

    __slots__ = ()

    @staticmethod
    def marked(cell: str | None) -> str | None:
        """A cell of a table that separates cells by semicolons, as is usual where the comma is decimal."""
        return DecimalComma(cell) if cell and "," in cell and _WITH_COMMA.fullmatch(cell) else cell

    def plain(self) -> str:
        """The same number with a point."""
        return self.replace(".", "").replace(",", ".")


def number(value: object) -> float | None:
    """A number, also as text (`$0.02`, `85 %`, `1,234.5`), or the only one of a list; None: none there.

    A length of time is its seconds.
    """
    if type(value) is float:  # most of them
        return value
    value = _only(value)
    if isinstance(value, str) and value.strip().lower() in _NULL_WORDS:
        return None
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        try:
            return _number_in(value) if isinstance(value, str) else float(value)
        except (ValueError, OverflowError):
            pass
    raise ValueError("is not a number")


def _number_in(text: str) -> float:
    if "_" in text:  # Python groups digits by "_", no log does
        raise ValueError("is not a number")
    text = (text.plain() if isinstance(text, DecimalComma) else text).strip().removeprefix("$")
    text = text.replace(",", "") if "," in text and _GROUPED.fullmatch(text) else text
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def boolean(value: object) -> bool | None:
    """A truth value in any of the forms that logs hold, or the only one of a list."""
    value = _only(value)
    if isinstance(value, bool):
        return value
    if _is_null(value):
        return None
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _NULL_WORDS:
            return None
        known = bool(int(word)) if word in ("0", "1") else verdict(word)
        if known is not None:
            return known
    raise ValueError("is not true or false")


def verdict(text: str) -> bool | None:
    """Whether a word (yes, pass, correct, thumbs down) says that an answer is good; None for any other."""
    word = text.strip().lower().replace(" ", "_").replace("-", "_")
    return word in _GOOD if word in _GOOD or word in _BAD else None


def microseconds(value: object) -> int | None:
    """Microseconds since 1970 of a time in any of the forms that logs hold."""
    if _is_null(value) or (isinstance(value, str) and value.strip().lower() in _NULL_WORDS):
        return None
    try:
        moment = _moment(value)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("is not a time (ISO 8601, or seconds or milliseconds since 1970)") from error
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH_NUMBER = re.compile(r"[+-]?(?!\d{8}$)\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
"""A number as text, except for eight digits, which are a date: 20260928."""
_RFC_2822 = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d.*")


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        # `fromisoformat` reads some thirteen digits as a date of the 18th century, so numbers come first.
        if _EPOCH_NUMBER.fullmatch(value.strip()):
            value = float(value)
        elif _RFC_2822.fullmatch(value.strip()):
            return parsedate_to_datetime(value)
        else:
            return datetime.fromisoformat(value.strip().upper().removesuffix(" UTC"))
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        moment = float(value)
        units = next((unit for first, unit in _UNITS if abs(moment) >= first), 1.0)
        return datetime.fromtimestamp(moment / units, UTC)
    raise ValueError(f"not a time: {value!r}")


def tag_list(value: object) -> list[str] | None:
    """Labels from a list, a JSON list or comma-separated text."""
    if isinstance(value, str):
        value = _tags_of_text(value)
    if _is_null(value):
        return None
    tags = [tag for tag in value if tag is not None] if isinstance(value, list) else None
    if tags is None or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("is not a list of texts")
    return tags


def _tags_of_text(text: str) -> Json:
    if not text.lstrip().startswith("["):
        return [tag.strip() for tag in text.split(",") if tag.strip()]
    try:
        return parse_json(text)[0]
    except ValueError as error:
        raise ValueError("is broken JSON") from error


def json_cell(value: Json, check: Callable[[Json], Json]) -> tuple[tuple[Json, str] | None, bool]:
    """Value and text of a JSON cell, or None if it is empty; then, whether a surrogate was replaced."""
    text, repaired = None, False
    if isinstance(value, bytes):
        value = _decoded(value)
    if isinstance(value, str) and value:
        text = value
        try:
            value, repaired = parse_json(text)
        except ValueError as error:
            raise ValueError("is broken JSON") from error
    if _is_null(value) or not value:
        return None, False
    checked = check(value)
    return (checked, text if text and not repaired and checked is value else _json_text(checked)), repaired


def any_json(value: Json) -> Json:
    """Any JSON value."""
    return value


def chat_messages(value: Json) -> Json:
    """A list of chat messages."""
    if not isinstance(value, list) or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in value
    ):
        raise ValueError("is not a list of objects with a role")
    return value
