"""Recognises turns in which a user complains about the answer before, in several languages."""

from __future__ import annotations

import re
from collections.abc import Mapping

COMPLAINTS: Mapping[str, tuple[str, ...]] = {
    "en": (
        r"(?:no,? )?(?:that|this|it)(?:'s| is| was)? (?:still )?(?:wrong|incorrect|not right|not correct)",
        r"(?:no,? )?(?:that|this|it)(?:'s| is| was)? not what i (?:asked|meant|wanted|need)",
        r"(?:no,? )?(?:that|this|it) (?:still )?(?:does not|doesn't|didn't) (?:work|help)",
        r"(?:no,? )?you(?:'re| are) (?:still )?wrong",
        r"(?:wrong|incorrect|try again|still wrong|not what i asked)",
    ),
    "de": (
        r"(?:nein,? )?das (?:ist|war) (?:immer noch )?(?:falsch|nicht richtig|nicht das, was ich)",
        r"(?:nein,? )?(?:das )?stimmt (?:so |immer noch )?nicht",
        r"(?:nein,? )?(?:das|es) (?:funktioniert|geht) (?:so |immer noch )?nicht",
        r"(?:falsch|versuch(?:e)? es noch ?(?:ein)?mal|so war das nicht gemeint)",
    ),
    "fr": (
        r"(?:non,? )?c'est (?:toujours )?(?:faux|incorrect|inexact)",
        r"(?:non,? )?ce n'est pas (?:ça|correct|juste|ce que)",
        r"(?:non,? )?ça ne (?:marche|fonctionne) (?:toujours )?pas",
        r"(?:faux|réessaie|réessayez|essaie encore)",
    ),
    "es": (
        r"(?:no,? )?(?:eso )?(?:está mal|es incorrecto|no es correcto|no es lo que (?:pedí|quería|quiero))",
        r"(?:no,? )?(?:eso )?(?:sigue sin funcionar|no funciona)",
        r"(?:incorrecto|inténtalo de nuevo|intenta de nuevo|te equivocas)",
    ),
    "it": (
        r"(?:no,? )?(?:questo )?(?:è sbagliato|non è corretto|non è quello che (?:ho chiesto|volevo))",
        r"(?:no,? )?(?:non funziona)",
        r"(?:sbagliato|riprova|ti sbagli)",
    ),
    "pt": (
        r"(?:não,? )?(?:isso )?(?:está errado|não está certo|não é o que (?:pedi|eu pedi|eu queria))",
        r"(?:não,? )?(?:isso )?(?:ainda )?não funciona",
        r"(?:errado|tente (?:de novo|novamente)|tenta (?:de novo|outra vez))",
    ),
    "zh": (r"(?:这|那)?(?:还是)?(?:不对|错了|不正确)", r"不是我(?:要|想要|问)的", r"重新(?:回答|来|做)"),
    "ja": (r"(?:それは)?(?:違います|違う|間違って|間違い)", r"そうじゃな", r"もう一度(?:やり|答え)"),
}
"""Regular expressions for the beginning of a turn per language; case does not matter. Elsewhere in a turn,
the same words are often no complaint."""

_UNSPACED = ("zh", "ja")
_LONGEST = 200


def _compiled() -> re.Pattern[str]:
    parts = [
        f"(?:{pattern})" + ("" if language in _UNSPACED else r"(?!\w)")
        for language, patterns in COMPLAINTS.items()
        for pattern in patterns
    ]
    return re.compile(r"[\W_]{0,10}(?:" + "|".join(parts) + ")", re.IGNORECASE)


_BEGINNING = _compiled()


def complains(turn: str) -> bool:
    """Whether a user's turn begins with a complaint."""
    plain = " ".join(turn[:_LONGEST].replace("\u2019", "'").split())
    return _BEGINNING.match(plain) is not None
