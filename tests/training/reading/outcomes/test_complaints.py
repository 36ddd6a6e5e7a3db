from __future__ import annotations

import pytest

from training.reading.outcomes.complaints import complains


@pytest.mark.parametrize(
    "turn",
    [
        "That's wrong.",
        "That\u2019s not what I asked for",
        "no, this is still wrong",
        "It doesn't work",
        "Try again!",
        "Das stimmt nicht",
        "Nein, das funktioniert so nicht",
        "Ce n'est pas ce que je voulais",
        "Eso está mal",
        "Non funziona",
        "Não funciona",
        "不对 再算一次",
        "違います",
    ],
)
def test_a_complaint_at_the_beginning_is_one(turn: str) -> None:
    assert complains(turn)


@pytest.mark.parametrize(
    "turn",
    [
        "Is it true that the answer was wrong in 1905?",
        "Wrongful termination: what are my rights?",
        "Thanks, and now in French",
        "That is right",
        "What's falsch in English?",
        "",
    ],
)
def test_the_words_of_one_elsewhere_are_none(turn: str) -> None:
    assert not complains(turn)
