"""The language of each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from router.records import Request, message_texts

MOST_READ = 20_000
"""Prompts whose language is looked at, evenly spread over the rows: some 0.1 ms each."""


READ_CHARACTERS = 300


LEAST_LETTERS = 20
"""Bytes of letters: 20 in English, 10 in Russian, 7 in Chinese."""


TOO_SHORT = "too short to tell"


UNSURE = "unsure"


LEAST_SURE = 0.5


NO_LANGUAGE = "zxx"
"""The classifier's name for what is no language."""


Classify = Callable[[str], tuple[str, float]]
"""Language code and probability of a text."""


def asked_text(request: Request) -> str:
    """The start of the last message of the user's, or of the last one where there is none.

    A system text is often in another language than the user's, and so is what follows a question: code, a
    document.
    """
    texts = list(message_texts(request.messages))
    asked = [text for role, text in texts if role == "user"] or [text for _, text in texts]
    return asked[-1][:READ_CHARACTERS] if asked else ""


def languages(requests: Sequence[Request], classify: Classify | None = None) -> list[list[str]]:
    """The language of each prompt; none for those that were not looked at.

    Args:
        classify: py3langid's by default, whose model of some 140 languages is in the package.
    """
    classify = classify or _classifier()
    read: Iterable[int] = range(len(requests))
    if len(requests) > MOST_READ:
        read = np.linspace(0, len(requests) - 1, MOST_READ).astype(int).tolist()
    named: list[list[str]] = [[] for _ in requests]
    known: dict[str, str] = {}
    for row in read:
        text = asked_text(requests[row])
        if text not in known:
            known[text] = language_of(text, classify)
        named[row] = [known[text]]
    return named


def language_of(text: str, classify: Classify) -> str:
    """Two- or three-letter code, or why there is none."""
    letters = "".join(character for character in text if character.isalpha())
    if len(letters.encode("utf-8", errors="replace")) < LEAST_LETTERS:
        return TOO_SHORT
    language, probability = classify(text)
    return language if probability >= LEAST_SURE and language != NO_LANGUAGE else UNSURE


def _classifier() -> Classify:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    classify: Classify = identifier.classify
    return classify
