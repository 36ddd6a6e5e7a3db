"""LiteLLM's shadow evaluations, joined to the spend log: a judge compares a real call with its shadow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from training.readers.litellm_spend import READER as SPEND
from training.readers.protocol import Call, JoiningReader, Record, Rejected, Result, Sample, Skipped
from training.readers.values import filled, words
from training.readers.zero_costs import paid

_TELLING = ("job_id", "request_id", "outcome", "shadow_model")
_PROMPT = tuple("messages prompt tools response_format session_id time task_type tags truncated".split())
_SOURCE = "shadow-evaluation"

NOT_JUDGED = Skipped("shadow evaluation without a verdict")
NO_REAL_CALL = Skipped("the judged request is not in the spend log")
NO_OUTCOME = Rejected("outcome is none of real, shadow, tie, error")


class LiteLLMShadow(JoiningReader):
    """An attempt becomes the call of the shadow, with the prompt of the real request.

    The loser failed on that prompt; after a tie both succeeded. The outcome source says that this is a
    comparison of two answers, not a grade.
    """

    name = "litellm-shadow"
    tables = ("LiteLLM_ShadowEvalAttempt",)
    takes_over = SPEND.name
    many_rows = True
    pages = True

    def recognise(self, sample: Sample) -> float:
        """By the columns of the attempts; the reader takes over the spend log beside them."""
        if set(_TELLING) <= sample.columns:
            return 0.95
        return 0.95 * sample.share(*_TELLING)

    def rows(self, record: Record) -> Iterable[Record]:
        """The rows of a page of the spend log; any other record as it is."""
        return SPEND.rows(record)

    def key(self, row: Record) -> str | None:
        """The id of the real request."""
        return words(row.get("request_id"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """Rows of the spend log as calls with the outcome; attempts as calls of the shadow."""
        outcomes = [row.get("outcome") for row in rows if "outcome" in row]
        results = [None if "outcome" in row else SPEND.convert(row) for row in rows]
        real = next((result for result in results if isinstance(result, dict)), None)
        return [
            _shadow(row, real) if result is None else _judged(result, outcomes)
            for row, result in zip(rows, results, strict=True)
        ]


def _judged(result: Result, outcomes: Sequence[object]) -> Result:
    """The real call with the judge's outcome if the log has no other."""
    known = [outcome for outcome in outcomes if outcome in ("real", "tie", "shadow")]
    if not isinstance(result, dict) or not known or result.get("success") is not None:
        return result
    return {**result, "success": "shadow" not in known, "outcome_source": _SOURCE}


def _shadow(row: Record, real: Call | None) -> Result:
    outcome = row.get("outcome")
    if outcome not in ("real", "shadow", "tie"):
        return NOT_JUDGED if outcome == "error" else NO_OUTCOME
    if real is None:
        return NO_REAL_CALL
    model = words(row.get("shadow_model"))
    if model is None:
        return NOT_JUDGED
    call = {name: real[name] for name in _PROMPT if name in real}
    call |= {"model": model, "success": outcome != "real", "outcome_source": _SOURCE}
    cost = paid(row.get("shadow_cost"), model)
    return call | filled({"call_id": words(row.get("id")), "cost_usd": cost}, zeros=True)


READER = LiteLLMShadow()
