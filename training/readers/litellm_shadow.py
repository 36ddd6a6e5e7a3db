"""LiteLLM's shadow evaluations: a real call and its shadow, judged side by side, joined to the spend log."""

from __future__ import annotations

from collections.abc import Sequence

from training.readers.litellm_spend import READER as SPEND
from training.readers.protocol import (
    Apart,
    Call,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Sample,
)
from training.readers.values import words

_TELLING = ("job_id", "request_id", "outcome", "shadow_model")
_PROMPT = tuple("messages prompt tools response_format session_id time task_type tags truncated".split())
_SOURCE = "shadow-evaluation"

NOT_JUDGED = Apart("shadow evaluation without a verdict")
NO_REAL_CALL = Apart("the judged request is not in the spend log")
NO_OUTCOME = Rejected("outcome is none of real, shadow, tie, error")


class LiteLLMShadow(JoiningReader):
    """An attempt becomes the shadow's call, with the prompt of the request that was judged.

    Whoever loses did not succeed on that prompt; a tie is a success of both. That is a judge's word on one
    answer beside another, and its outcome source says so.
    """

    name = "litellm-shadow"
    tables = ("LiteLLM_ShadowEvalAttempt",)
    takes_over = SPEND.name

    def recognise(self, sample: Sample) -> float:
        """By the attempts' own names; the spend log beside them is taken over."""
        if set(_TELLING) <= sample.columns:
            return 0.95
        return 0.95 * sample.share(*_TELLING)

    def key(self, row: Record) -> str | None:
        """The id of the real request."""
        return words(row.get("request_id"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """Rows of the spend log as that reader has them, with the verdict; attempts as the shadow's calls."""
        verdicts = [row.get("outcome") for row in rows if "outcome" in row]
        results = [None if "outcome" in row else SPEND.convert(row) for row in rows]
        real = next((result for result in results if isinstance(result, dict)), None)
        return [
            _shadow(row, real) if result is None else _judged(result, verdicts)
            for row, result in zip(rows, results, strict=True)
        ]


def _judged(result: Result, verdicts: Sequence[object]) -> Result:
    """The real call with the judge's word, where the log has no other."""
    given = [verdict for verdict in verdicts if verdict in ("real", "tie", "shadow")]
    if not isinstance(result, dict) or not given or result.get("success") is not None:
        return result
    return {**result, "success": "shadow" not in given, "outcome_source": _SOURCE}


def _shadow(row: Record, real: Call | None) -> Result:
    verdict = row.get("outcome")
    if verdict not in ("real", "shadow", "tie"):
        return NOT_JUDGED if verdict == "error" else NO_OUTCOME
    if real is None:
        return NO_REAL_CALL
    model = words(row.get("shadow_model"))
    if model is None:
        return NOT_JUDGED
    call = {name: real[name] for name in _PROMPT if name in real}
    call |= {"model": model, "success": verdict != "real", "outcome_source": _SOURCE}
    return call | {
        name: value
        for name, value in (("call_id", words(row.get("id"))), ("cost_usd", row.get("shadow_cost")))
        if value is not None
    }


READER = LiteLLMShadow()
