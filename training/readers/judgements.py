"""What others said of an answer (scores, assessments, evaluations, errors), as one outcome."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.records import Json
from training.readers.litellm_records import NOT_THE_MODELS, blame, is_callers
from training.readers.protocol import Apart, Call
from training.readers.values import words

Judge: TypeAlias = Literal["annotation", "feedback", "evaluation", "expectation"]
"""People who looked at the answer, the application or its users, an evaluator, a comparison with what was
expected."""

_TRUSTED: Sequence[Judge] = ("annotation", "feedback", "evaluation", "expectation")
_GOOD = frozenset(
    "true yes y good great correct pass passed positive success successful helpful resolved relevant safe "
    "accepted like liked upvote thumbs_up thumbsup up 👍".split()
)
_BAD = frozenset(
    "false no n bad poor wrong incorrect fail failed negative failure unsuccessful unhelpful unresolved "
    "irrelevant unsafe rejected dislike disliked downvote thumbs_down thumbsdown down 👎".split()
)
_NO_GRADE = re.compile(
    r"(?i)hallucinat|toxic|harm(?!less)|bias|error|fail|refus|jailbreak|inject|\bpii\b|leak|latency|duration|cost|token|"
    r"length|count|confidence"
)
"""Names of measures in which more is not better, or that are no grade at all."""
_ERROR_CLASS = re.compile(r"\b([A-Z]\w*(?:Error|Exception))\b")
_SHORT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One judgement of one answer.

    Attributes:
        good: whether it was good; None where only a grade was given.
        grade: in [0, 1]; None where there is none.
    """

    judge: Judge
    good: bool | None = None
    grade: float | None = None


def judgement_of(judge: Judge, name: Json, value: Json) -> Judgement | None:
    """A judgement from its name and value; None where that says nothing of the answer's worth.

    True and false, and words for them (yes, pass, correct, thumbs down), are good or bad; a number in
    [0, 1] is a grade. A number outside has a scale that the log does not tell; of a fault (hallucination,
    toxicity) or of an amount (tokens, latency) more is not better. Those say nothing.
    """
    if isinstance(name, str) and _NO_GRADE.search(name):
        return None
    if isinstance(value, bool):
        return Judgement(judge=judge, good=value)
    if isinstance(value, int | float):
        return Judgement(judge=judge, grade=float(value)) if 0 <= value <= 1 else None
    word = value.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""
    if word in _GOOD or word in _BAD:
        return Judgement(judge=judge, good=word in _GOOD)
    return None


def expected(wanted: Json, answer: str | None) -> Judgement | None:
    """Whether an answer has what was expected of it; None where comparing texts can't tell.

    An answer that differs from a long expected text may still be right; one that lacks a short one is not.
    """
    if not isinstance(wanted, str | int | float) or not answer or not (want := _plain(str(wanted))):
        return None
    found = re.search(rf"(?<!\w){re.escape(want)}(?!\w)", _plain(answer)) is not None
    if not found and len(want) > _SHORT:
        return None
    return Judgement(judge="expectation", good=found)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`")


def with_judgements(call: Call, verdicts: Iterable[Judgement | None]) -> Call:
    """A call with `success`, `score` and `outcome_source` by the most trusted judges that said anything.

    Of several of them, all must have found it good; their grades are averaged. Without a judgement the call
    stays as it is; with one, that is what counts, not an error.
    """
    given = [one for one in verdicts if one is not None]
    for judge in _TRUSTED:
        of_judge = [one for one in given if one.judge == judge]
        if of_judge:
            return {**{name: call[name] for name in call if name != "success"}, **_summed(judge, of_judge)}
    return call


def _summed(judge: Judge, verdicts: Sequence[Judgement]) -> Call:
    said = [one.good for one in verdicts if one.good is not None]
    grades = [one.grade for one in verdicts if one.grade is not None]
    found: Call = {"outcome_source": judge}
    if said:
        found["success"] = all(said)
    if grades:
        found["score"] = math.fsum(grades) / len(grades)
    return found


def error_class(*texts: Json) -> str | None:
    """The name of an error's class, from a dotted path of it or from the beginning of a message."""
    for text in texts:
        if words(text) is None:
            continue
        last = text.rpartition(".")[2]
        if last.isidentifier() or text.isdigit():
            return str(last)
        if found := _ERROR_CLASS.search(text[:200]):
            return found[1]
    return None


def with_error(call: Call, name: str | None) -> Call | Apart:
    """A call that ended in an error; set apart where the caller or the proxy was at fault.

    Args:
        name: class of the error, or its status code; None where the log has none.
    """
    if name is not None and (is_callers(name) or name in ("401", "403", "404", "422")):
        return NOT_THE_MODELS
    said = name or "error"
    return {**call, "error": said, **blame(said)}
