"""What people may see of addresses and settings: no passwords, keys and signatures."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
"""Stands for what people may not see."""

# No pattern here takes more than linear time: what they search may be a caller's.
_WORD = re.compile(r"\S+")
_QUOTED_WORD = re.compile(r"[^\s'\"()]+")
_SLASHES = re.compile(r"(//+)")
_WITH_ALIAS = re.compile(r"(?<!\w)(?:models|runs):/")
_NAMED = re.compile(
    r"(?<![\w.-])([\w.-]{1,200})(\s{0,3}=\s{0,3})('[^']{0,2000}'|\"[^\"]{0,2000}\"|[^\s&;,'\")]+)"
)
_SECRET_NAME = re.compile(r"(?i)key|token|secret|sig|credential|pass|pwd|auth")
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gh[a-z]|github_pat|glpat|hf|xox[a-z])[-_](?=[\w-]{0,200}\d)[\w-]{12,}"
    r"|(?:AKIA|ASIA|AIza)[\w-]{12,}|eyJ[\w-]{10}[\w.-]*)"
)
_BETWEEN_WORDS = re.compile(r"[ _./~-]")
_LONGEST_WORD = 20
_LONGEST_MIXED = 6
"""Letters and digits of a word that has both, such as gpt4o."""
_LONGEST_VALUE = 80


def without_credentials(text: str) -> str:
    """Remove user, password, keys and signatures from the addresses and settings in a text.

    Percent-encoding hides none of them. Of `name=value` the value goes if the name says that it is a secret;
    the usual providers' keys go wherever they are.
    """
    text = _hidden(text)
    return _WORD.sub(_hidden_in_encoded, text) if "%" in text else text


def without_query(path: str) -> str:
    """Remove the query, which may hold a signature, from a web address; other paths stay as they are."""
    return path.partition("?")[0] if path.lower().startswith(("http://", "https://")) else path


def shown_address(path: str) -> str:
    """Remove credentials and query from a path or an address."""
    return without_credentials(without_query(path))


def shown_text(text: str) -> str:
    """Remove credentials, and the queries of web addresses, from a text."""
    return without_credentials(_QUOTED_WORD.sub(_without_its_query, text))


def shown_value(text: str) -> str:
    """A wrong value as an error may repeat it: plain words, numbers or a path; `HIDDEN` for all else."""
    is_plain = text.isascii() and all(map(_is_plain, _BETWEEN_WORDS.split(text)))
    return text if is_plain and len(text) <= _LONGEST_VALUE and without_credentials(text) == text else HIDDEN


def _is_plain(word: str) -> bool:
    is_of_one_kind = word.isalpha() or word.isdigit()
    is_short = len(word) <= (_LONGEST_WORD if is_of_one_kind else _LONGEST_MIXED)
    return not word or (word.isalnum() and is_short)


def _hidden(text: str) -> str:
    text = _WORD.sub(_without_its_user, text) if "@" in text else text
    return _KEY.sub(HIDDEN, _NAMED.sub(_without_its_value, text))


def _without_its_user(match: re.Match[str]) -> str:
    """A word without what comes before its last @, if that may be a user and a password."""
    word = match[0]
    before, _, host = word.rpartition("@")
    scheme, mark, user = _SLASHES.split(before, maxsplit=1) if "//" in before else ("", "", "")
    if mark and ("/" not in user or ":" in user.partition("/")[0]):
        return f"{scheme}{mark}{HIDDEN}@{host}"
    return f"{HIDDEN}@{host}" if not mark and ":" in before and not _WITH_ALIAS.search(before) else word


def _without_its_value(match: re.Match[str]) -> str:
    name, equals, _ = match.groups()
    return f"{name}{equals}{HIDDEN}" if _SECRET_NAME.search(name) else match[0]


def _hidden_in_encoded(match: re.Match[str]) -> str:
    plain = unquote(unquote(match[0]))
    hidden = _hidden(plain)
    return match[0] if hidden == plain else hidden


def _without_its_query(match: re.Match[str]) -> str:
    address, mark, _ = match[0].partition("?")
    return f"{address}?{HIDDEN}" if mark and re.search("(?i)https?://", address) else match[0]
