"""Wordings that tie a text to one model: which rule each breaks, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from router.linting.phrases import ADDRESSES, FACTS, FEATURES, PERSONAS, TOKENS, VENDORS, Phrase

_SAME_WIDTH = str.maketrans(
    "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d"
    "\uff0c\u3002\uff1f\uff01\uff1a\uff5c\u2010\u2011\u2013\u2014\u00a0\u0130",
    '\'\'""""""",.?!:|---- I',
)
"""Typographic marks and their plain forms, so that the patterns need one of each; places stay the same.

The last one, a dotted I, is the only character whose lower case is longer than itself.
"""
_BEFORE, _AFTER = 220, 140
"""Characters before and after a stem that contain its whole wording."""
_CONTEXT, _CLOSE = 160, 40
"""Characters around a wording that show whether it is only mentioned, and those right before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Words in a text that break when another model gets them.

    Attributes:
        start, end: the words are `text[start:end]`.
        better: what to write instead.
    """

    start: int
    end: int
    better: str


class Rule:
    """One kind of wording.

    Attributes:
        id: name of the rule in findings.
        breaks: what goes wrong on another model.
        stems: every wording of the rule contains one of these, in lower case.
    """

    def __init__(self, name: str, breaks: str, stems: str, phrases: Iterable[Phrase]) -> None:
        """Take the phrases of the rule; `stems` are separated by commas."""
        self.id = name
        self.breaks = breaks
        self.stems = tuple(stems.split(","))
        self._patterns = [(phrase.pattern(), phrase.better) for phrase in phrases]

    def find(self, plain: str, lowered: str, prose: bool) -> Iterator[Wording]:
        """The wordings that address a model, without those that the text only mentions.

        Args:
            plain: a text with plain marks.
            lowered: the same in lower case.
            prose: as in `wordings`.
        """
        for wording in self._candidates(plain, lowered):
            if not _is_mention(plain, wording.start, wording.end, prose):
                yield wording

    def _candidates(self, plain: str, lowered: str) -> Iterator[Wording]:
        for first, last in _neighbourhoods(lowered, self.stems):
            for pattern, better in self._patterns:
                for match in pattern.finditer(plain, first, last):
                    start, end = match.span("words")
                    yield Wording(start=start, end=end, better=better.format(lead=match["lead"]))


class MarkRule(Rule):
    """Marks of a chat template: the first of each line, and turns of `Human:` before one of `Assistant:`."""

    def _candidates(self, plain: str, lowered: str) -> Iterator[Wording]:
        before: Wording | None = None
        for mark in super()._candidates(plain, lowered):
            around = plain[max(0, mark.start - 2) : mark.start], plain[mark.end : mark.end + 2]
            first_of_line = before is None or plain.find("\n", before.end, mark.start) >= 0
            if first_of_line and not _is_about_mark(*around):
                yield mark
            before = mark
        if "human:" in lowered:
            yield from _turns(plain)


def wordings(text: str, *, prose: bool = True) -> list[tuple[Rule, Wording]]:
    """The wordings of every rule in a text, in order, none inside another.

    Args:
        prose: whether quotation marks mean a mere mention; in other texts they may hold a setting's value.
    """
    plain = _with_plain_marks(text)
    lowered = plain.lower()
    pairs = [(rule, wording) for rule in RULES for wording in rule.find(plain, lowered, prose)]
    pairs.sort(key=lambda pair: (pair[1].start, -pair[1].end))
    kept: list[tuple[Rule, Wording]] = []
    for rule, wording in pairs:
        if not kept or wording.start >= kept[-1][1].end:
            kept.append((rule, wording))
    return kept


def may_hold_wordings(text: str) -> bool:
    """Whether a text has any stem; one without needs no closer look."""
    lowered = _with_plain_marks(text).lower()
    return "\\u" in lowered or any(stem in lowered for rule in RULES for stem in rule.stems)


def _with_plain_marks(text: str) -> str:
    return text if text.isascii() else text.translate(_SAME_WIDTH)


def _neighbourhoods(lowered: str, stems: Iterable[str]) -> list[tuple[int, int]]:
    """Disjoint stretches around the stems, in order, so that the patterns cost nothing elsewhere."""
    places = sorted(place for stem in stems for place in _places(lowered, stem))
    stretches: list[tuple[int, int]] = []
    for place in places:
        first, last = max(0, place - _BEFORE), place + _AFTER
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return stretches


def _places(lowered: str, stem: str) -> Iterator[int]:
    place = lowered.find(stem)
    while place >= 0:
        yield place
        place = lowered.find(stem, place + len(stem))


_CONDITION = re.compile(
    r"(?i)(?:\b(?:if|when|whether|unless|that|because|says?|said|saying|claim\w{0,3}|thinks?|who|wenn|falls|ob|dass"
    r"|sagen?|si|que|quand|cuando)[ ,]+"
    r"|\b(?:not|never|cannot|nicht|nie|ne|no)(?: \w{1,12}){0,2} |n't(?: \w{1,12})? "
    r"|(?:如果|假如|当|若|说|认为|不要|不是|别))$"
)
_QUOTED = re.compile(r"[^\W\d_][,:]? ?[\"'`]$")
_IN_CALL = re.compile(r"(?:return|yield|echo|[:=(\[,]) ?[\"'`]$")
_SETTING = re.compile(r"(?:^[ \t-]*+[\w.-]++|[\"']) ?: ?[\"']$")


def _is_mention(text: str, start: int, end: int, prose: bool) -> bool:
    """Whether the words are code in prose, a quotation, a keyword, a condition or a denial."""
    before = text[max(0, start - _CONTEXT) : start]
    line = before[before.rfind("\n") + 1 :]
    after = text[end : end + _CONTEXT].partition("\n")[0]
    if line[-1:] in ("'", '"') and (after[:1] == line[-1:] and not text[start].isupper()):
        return True
    quoted = _is_quoted_in_prose(line, after) if prose else _QUOTED.search(line) and not _IN_CALL.search(line)
    return bool(quoted or _CONDITION.search(line[-_CLOSE:]))


def _is_quoted_in_prose(line: str, after: str) -> bool:
    """Whether a quotation or a piece of code is open that is not the value of a setting."""
    if line.count("`") % 2 and "`" in after:
        return True
    opened = line.rfind('"') + 1 if line.count('"') % 2 else len(line) if line.endswith("'") else 0
    return opened > 0 and not _SETTING.search(line[:opened])


_TURN = re.compile(r"^[ \t>#]{0,8}(?P<words>(?:(?P<human>Human):(?=[ \t]{1,8}\S)|Assistant:))", re.MULTILINE)


def _is_about_mark(before: str, after: str) -> bool:
    """Whether the mark is a word of a sentence, or a whole quotation, as in code that searches for it."""
    in_sentence = re.match(r"\w $", before) and re.match(r" [a-z]", after)
    return bool(in_sentence) or (before[-1:] in "'\"`" and before[-1:] == after[:1] != "")


def _turns(plain: str) -> Iterator[Wording]:
    human: tuple[int, int] | None = None
    for turn in _TURN.finditer(plain):
        if turn["human"]:
            human = turn.span("words")
        elif human:
            yield Wording(start=human[0], end=human[1], better=TOKENS[0].better)
            human = None


_MODELS = "claude,gpt,gemini,llama,mistral,grok,gemma,copilot,deepseek,qwen,mixtral"
_MAKERS = "openai,anthropic,google,meta ai,mistral,xai,deepseek,alibaba,cohere"
RULES = (
    Rule("persona", "another model is told that it is this one", f"{_MODELS},{_MAKERS}", PERSONAS),
    Rule("address", "another model is called by this one's name", _MODELS, ADDRESSES),
    Rule("vendor", "another maker's model has other rules, tools and origins", _MAKERS, VENDORS),
    MarkRule(
        "control-token",
        "another model reads the mark as plain text",
        "<|,inst],sys>>,_of_turn>,human:",
        TOKENS,
    ),
    Rule(
        "feature",
        "another model has no such thing",
        "think,antartifact,code interpreter,dall,data analysis,canvas tool,artifacts ",
        FEATURES,
    ),
    Rule(
        "model-fact",
        "another model has another figure",
        "cutoff,cut-off,your training data,context window,token context,tokens context",
        FACTS,
    ),
)
"""All rules; `pointsman lint` names them by their id."""
