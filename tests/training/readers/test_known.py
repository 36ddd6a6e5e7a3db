from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from router.errors import ConfigError
from training.readers import known
from training.readers.protocol import Call, Reader, Record, Result


class Letters(Reader):
    """A reader of a team's own, as another package would bring it."""

    name = "letters"

    def recognise(self, sample: object) -> float:
        return 0.0

    def convert(self, row: Record) -> Result:
        return Call(prompt=row.get("letter"))


LETTERS = Letters()
NO_READER = "letters"


class SecondHelicone(Letters):
    name = "helicone"


TAKEN = SecondHelicone()


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    known.known_readers.cache_clear()
    yield
    known.known_readers.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, attribute: str) -> None:
    point = EntryPoint("ours", f"{__name__}:{attribute}", known.ENTRY_POINTS)
    monkeypatch.setattr(known, "entry_points", lambda group: [point] if group == known.ENTRY_POINTS else [])


def test_a_reader_of_an_installed_package_stands_after_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "LETTERS")
    assert list(known.known_readers())[-1] == "letters"


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        pytest.param("MISSING", "can't be loaded: AttributeError", id="missing"),
        pytest.param("NO_READER", r"holds str, not a training\.readers", id="no reader"),
        pytest.param("TAKEN", "the reader name 'helicone' is taken", id="taken name"),
    ],
)
def test_a_reader_that_can_t_be_used_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, attribute: str, message: str
) -> None:
    installed(monkeypatch, attribute)
    with pytest.raises(ConfigError, match=message):
        known.known_readers()
