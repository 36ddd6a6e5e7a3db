"""Turns the judgements of an answer (scores, assessments, evaluations, errors) into one outcome."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.records import Json
from training.readers.cells import verdict
from training.readers.litellm_records import NOT_THE_MODELS, blame, is_callers
from training.readers.protocol import Call, Skipped
from training.readers.values import first_words, mapping, words

Judge: TypeAlias = Literal["annotation", "feedback", "evaluation", "expectation"]
"""A person who reviewed the answer; the application or its users; an evaluator; a comparison with an expected
answer."""

_TRUSTED: Sequence[Judge] = ("annotation", "feedback", "evaluation", "expectation")
_NO_GRADE = re.compile(
    r"(?i)hallucinat|toxic|harm(?!less)|bias|error|fail|refus|jailbreak|inject|\bpii\b|leak|latency|duration|cost|token|"
    r"length|count|confidence"
)
"""Names of measures that are no grades, or of which more is not better."""
_ERROR_CLASS = re.compile(r"\b([A-Z]\w*(?:Error|Exception))\b")
_SHORT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One judgement of one answer.

    Attributes:
        good: whether the answer is good; None if there is only a grade.
        grade: in [0, 1]; None if there is none.
    """

    judge: Judge
    good: bool | None = None
    grade: float | None = None


def judgement_of(judge: Judge, name: Json, value: Json) -> Judgement | None:
    """A judgement from its name and value; None if they don't grade the answer.

    True and false, and words for them (yes, pass, correct, thumbs down), are good or bad; a number in
    [0, 1] is a grade. None of these is a grade: a number outside [0, 1], whose scale the log does not have; a
    fault (hallucination, toxicity); an amount (tokens, latency).
    """
    if isinstance(name, str) and _NO_GRADE.search(name):
        return None
    if isinstance(value, bool):
        return Judgement(judge=judge, good=value)
    if isinstance(value, int | float):
        return Judgement(judge=judge, grade=float(value)) if 0 <= value <= 1 else None
    good = verdict(value) if isinstance(value, str) else None
    return None if good is None else Judgement(judge=judge, good=good)


def expected(wanted: Json, answer: str | None) -> Judgement | None:
    """Whether an answer contains the expected text; None if comparing texts can't tell.

    An answer that lacks a long expected text may still be right; one that lacks a short one is wrong.
    """
    if not isinstance(wanted, str | int | float) or not answer or not (text := _plain(str(wanted))):
        return None
    contained = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", _plain(answer)) is not None
    if not contained and len(text) > _SHORT:
        return None
    return Judgement(judge="expectation", good=contained)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`")


def with_judgements(call: Call, judgements: Iterable[Judgement | None]) -> Call:
    """A call with `success`, `score` and `outcome_source` of its most trusted judges.

    If these disagree, the call failed; their grades are averaged. A judgement replaces the outcome of an
    error. A call without judgements stays as it is.
    """
    known = [one for one in judgements if one is not None]
    for judge in _TRUSTED:
        of_judge = [one for one in known if one.judge == judge]
        if of_judge:
            return {**{name: call[name] for name in call if name != "success"}, **_outcome(judge, of_judge)}
    return call


def _outcome(judge: Judge, judgements: Sequence[Judgement]) -> Call:
    votes = [one.good for one in judgements if one.good is not None]
    grades = [one.grade for one in judgements if one.grade is not None]
    outcome: Call = {"outcome_source": judge}
    if votes:
        outcome["success"] = all(votes)
    if grades:
        outcome["score"] = math.fsum(grades) / len(grades)
    return outcome


def error_class(*texts: Json) -> str | None:
    """The class of an error, from its dotted path or the beginning of a message; else its status code.

    What a message says of the prompt comes first: for a prompt that is too long, clients raise any class.
    """
    for text in texts:
        for said, name in _SAID:
            if words(text) is not None and said.search(text):
                return name
    for text in texts:
        if words(text) is None:
            continue
        last = text.rpartition(".")[2]
        if last.isidentifier() or text.isdigit():
            return str(last)
        if match := _ERROR_CLASS.search(text[:200]) or _STATUS.search(text):
            return match[1]
    return None


_STATUS = re.compile(r"^Error code: (\d{3})\b")
"""How the clients of OpenAI and Anthropic begin the message of an error."""
_TOO_LONG = (
    "maximum context length", "maximum model length", "prompt is too long", "input is too long",
    "context window", "context limit", "exceeds the maximum number of tokens",
)  # fmt: skip
_SAID: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile("(?i)context_length_exceeded|" + "|".join(_TOO_LONG)), "ContextWindowExceededError"),
    (re.compile("(?i)content_policy_violation|^content_filter$"), "ContentPolicyViolationError"),
)


def with_error(call: Call, name: str | None) -> Call | Skipped:
    """A call that ended in an error; skipped if the caller or the proxy was at fault.

    Args:
        name: class of the error, or its status code; None if the log has neither.
    """
    if is_callers(name):
        return NOT_THE_MODELS
    error = name or "error"
    return {**call, "error": error, **blame(error)}


_MODELS = frozenset(
    "context_length_exceeded content_policy_violation content_filter invalid_prompt "
    "model_context_window_exceeded string_above_max_length".split()
)
_CALLERS = frozenset(
    "invalid_request_error authentication_error permission_error not_found_error request_too_large "
    "billing_error insufficient_quota invalid_api_key model_not_found".split()
)


def provider_outcome(status: Json, error: Json) -> Call | Skipped:
    """The outcome of a failed call, by the HTTP status and the error in its body, if known.

    The same rules hold for LiteLLM's errors. The model fails if it can't process this prompt. A wrong key or
    request says nothing about the model, so the call is skipped. Rate limits, timeouts and 5xx leave the
    outcome unknown.
    """
    details = mapping(error)
    details = mapping(details.get("error")) or details
    code, kind = words(details.get("code")), words(details.get("type"))
    name = first_words(code, kind) or _status_name(status)
    message = (words(details.get("message")) or "").lower()
    if {code, kind} & _MODELS or any(phrase in message for phrase in _TOO_LONG):
        return {"success": False, "outcome_source": "error", "error": name}
    if {code, kind} & _CALLERS or _is_callers_status(status):
        return NOT_THE_MODELS
    return {"success": None, "outcome_source": "error", "error": name}


def _status_name(status: Json) -> str:
    known = isinstance(status, int | float) and not isinstance(status, bool)
    return f"status {status:g}" if known else "error"


def _is_callers_status(status: Json) -> bool:
    known = isinstance(status, int | float) and not isinstance(status, bool)
    return known and 400 <= status < 500 and status not in (408, 409, 425, 429, 499)
