from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from router.call_log.address import LogAddress
from router.errors import CallLogError, ConfigError
from router.errors.masking import HIDDEN, shown_text, shown_value, without_credentials

SECRET = "hunter2"
KEY = "sk-planted-5f2c9e1ab37d4c60"
ADDRESSES = [
    f"postgresql://ann:{SECRET}@db:5432/logs",
    f"postgresql://{SECRET}@db/logs",
    f"postgresql://ann:{SECRET}/x@db/logs",
    f"postgresql://ann:x@{SECRET}@db/logs",
    f"postgresql://ann:'{SECRET}'@db/logs",
    f"postgresql://db/logs?password={SECRET}",
    f"postgresql://db/logs?sslmode=require&sslpassword={SECRET}",
    f"postgresql://db/logs?user=ann&sslkey=/keys/{SECRET}",
    f"postgresql://db/logs;password={SECRET}",
    f"ann:{SECRET}@db/logs",
    f"ann:{SECRET}@db/logs.db",
    f"host=db user=ann password={SECRET} dbname=logs",
    f"host=db password = '{SECRET} and more' dbname=logs",
    f'host=db password="{SECRET}"',
    f"dbname=logs passfile=/home/{SECRET}",
    f"mysql+pymysql://ann:{SECRET}@db/mlflow",
    f"https://storage/x?X-Amz-Signature={SECRET}&x=1",
    f"https://storage/x?sv=1&sig={SECRET}",
    f"Server=db;Pwd={SECRET};Database=logs",
    f"AccountName=a;AccountKey={SECRET}",
    f"api_key={SECRET}",
]


@pytest.mark.parametrize("encode", [str, lambda text: quote(text, safe=""), lambda text: quote(quote(text))])
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_text_shows_the_secret_of_an_address_in_it(address: str, encode: type[str]) -> None:
    for text in (encode(address), f"can't open {encode(address)}: refused", f"('{encode(address)}')"):
        assert SECRET not in without_credentials(text)
        assert SECRET not in shown_text(text)
        assert SECRET not in str(ConfigError(text))
        assert SECRET not in str(CallLogError(text))


@pytest.mark.parametrize("address", [*ADDRESSES, KEY, f"{KEY}.db", f"{SECRET}://x"])
def test_no_address_of_a_log_is_shown_with_its_secret(address: str) -> None:
    try:
        known = LogAddress.of(address)
    except CallLogError as error:
        shown = str(error)
    else:
        shown = f"{known} {known.shown} {known.reason(ValueError(f'no connection to {address}'))}"
    assert SECRET not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "sk-proj-abcdefghijklmnop1",
        "ghp_abcdefghijklmnop1234",
        "github_pat_11ABCDEFG0123456789",
        "hf_abcdefghijklmnop12",
        "glpat-abcdefghijkl12345",
        "xoxb-123456789012-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890abcdefghij",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_a_providers_key_is_shown_nowhere(key: str) -> None:
    assert key not in without_credentials(f"Incorrect API key provided: {key}.")
    assert shown_value(key) == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "models:/router@champion can't be fetched: no answer",
        "runs:/0123abcd/router@x",
        "postgresql://db:5432/logs",
        "sqlite:///mlflow.db",
        "calls.db: row 7 (call_id ann@example.com): 100% of 5 rows",
        "https://host/x?page=2",
        "unknown setting 'modles'; known here: models, rules",
        "s3://bucket/a%20b/c@2.jsonl",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize(
    "text", ["many", "gpt-4", "logs/calls.txt", "2026-09-14", "", "two words", "~/calls"]
)
def test_plain_words_are_shown(text: str) -> None:
    assert shown_value(text) == text


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "a:b",
        "x=1",
        "a@b",
        "50%",
        "d41d8cd98f00b204e9800998ecf8427e",
        "x" * 21,
        "a " * 50,
        "passwört",
        "a\nb",
    ],
)
def test_what_may_be_a_secret_is_not_shown(text: str) -> None:
    assert shown_value(text) == HIDDEN


PARTS = "a // /a @ : a: //a:@ ?key key= =' =\" a='b= sk- sk-a eyJ %25 %2525 ; a. -"


@pytest.mark.parametrize(
    "part", [*PARTS.split(), "https://a", "https://a?", " ", "\n", "key =", "= ", "a b", "//:"]
)
def test_no_text_takes_long(part: str) -> None:
    for text in (part * (400_000 // len(part)), part * (400_000 // len(part)) + "@", "//" + part * 100_000):
        started = time.perf_counter()
        shown_text(text)
        shown_value(text)
        assert time.perf_counter() - started < 20
