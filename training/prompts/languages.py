"""The language of each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from router.records import Request, message_texts

MOST_READ = 20_000
"""Number of prompts to classify, evenly spread over the rows; each takes about 0.1 ms."""
READ_CHARACTERS = 300
LEAST_LETTERS = 20
"""Bytes of letters: 20 letters in English, 10 in Russian, 7 in Chinese."""
TOO_SHORT = "too short to tell"
UNSURE = "unsure"
LEAST_SURE = 0.5
NO_LANGUAGE = "zxx"
"""The classifier's code for text in no language."""
Classify = Callable[[str], tuple[str, float]]
"""Language code and probability of a text."""


def asked_text(request: Request) -> str:
    """The start of the last user message, or of the last message if the user wrote none.

    The system prompt is often in another language, and so is the code or document that follows a question.
    """
    texts = list(message_texts(request.messages))
    candidates = [text for role, text in texts if role == "user"] or [text for _, text in texts]
    return candidates[-1][:READ_CHARACTERS] if candidates else ""


def languages(requests: Sequence[Request], classify: Classify | None = None) -> list[list[str]]:
    """The language of each prompt, as a list of one; an empty list for a prompt that was not classified.

    Args:
        classify: by default py3langid's classifier, whose package contains its model of about 140 languages.
    """
    classify = classify or _classifier()
    rows: Iterable[int] = range(len(requests))
    if len(requests) > MOST_READ:
        rows = np.linspace(0, len(requests) - 1, MOST_READ).astype(int).tolist()
    named: list[list[str]] = [[] for _ in requests]
    known: dict[str, str] = {}
    for row in rows:
        text = asked_text(requests[row])
        if text not in known:
            known[text] = language_of(text, classify)
        named[row] = [known[text]]
    return named


def language_of(text: str, classify: Classify) -> str:
    """Two- or three-letter code, or the reason why there is none."""
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
