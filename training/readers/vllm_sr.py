"""Replay records of vLLM's semantic router: what it chose, by which scores, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from router.records import Json
from training.readers.exchanges import exchange, whole_number
from training.readers.judgements import Judge, Judgement, with_judgements
from training.readers.litellm_records import CACHED
from training.readers.protocol import NO_MODEL, Reader, Record, Rejected, Result, Sample, Skipped
from training.readers.stream_chunks import answer_body
from training.readers.values import (
    filled,
    first_words,
    listed,
    member,
    truth,
    unpacked,
    words,
)
from training.readers.zero_costs import paid

_TELLING = ("selected_model", "decision")
_FURTHER = ("lifecycle_state", "request_body", "original_model", "signals", "response_status")
_PAGES = ("data", "records")
_VERDICTS: Mapping[str, bool] = {
    "good_fit": True, "overprovisioned": True, "underpowered": False, "failed": False,
}  # fmt: skip
"""Whether the answer was good enough: an overprovisioned model answers well, and a smaller one would too."""

UNFINISHED = Skipped("not answered to its end")
_NO_ROW = Rejected("not a replay record of vLLM's semantic router")


class VllmSemanticRouter(Reader):
    """One record a decision.

    The router takes the candidate of the highest score, so the logged policy has a propensity of 1, unless it
    drew from what it believed of the candidates: the chance of a draw is not recorded.
    """

    name = "vllm-sr"
    many_rows = True
    pages = True

    def recognise(self, sample: Sample) -> float:
        """By the model selected and the decision, beside some of a record's other fields."""
        if set(_TELLING) <= sample.columns and len(sample.columns & set(_FURTHER)) > 1:
            return 0.95
        return 0.95 * sample.share_of(lambda record: any(map(_is_row, self.rows(record))))

    def rows(self, record: Record) -> Iterable[Record]:
        """The records of a page; any other record as it is."""
        page = next((record[name] for name in _PAGES if isinstance(record.get(name), list)), None)
        if page is None or "selected_model" in record:
            return (record,)
        return [one if isinstance(one, dict) else {"row": one} for one in page]

    def convert(self, row: Record) -> Result:
        """The call of a record."""
        if not _is_row(row):
            return _NO_ROW
        if truth(row.get("from_cache")):
            return CACHED
        if row.get("lifecycle_state") in ("in_progress", "aborted"):
            return UNFINISHED
        model = words(row.get("selected_model"))
        if model is None:
            return NO_MODEL
        request = unpacked(row.get("request_body"))
        cut = truth(row.get("request_body_truncated")) or truth(row.get("prompt_truncated"))
        if not isinstance(request, dict):  # not captured, or cut short
            request = {"prompt": row.get("prompt"), "tools": row.get("tool_definitions")}
        answer = answer_body(row.get("response_body"))
        call = exchange(
            request, answer, model, _labels(row, model, cut=cut), status=row.get("response_status")
        )
        return with_judgements(call, _judgements(row)) if isinstance(call, dict) else call


def _is_row(row: Record) -> bool:
    return "selected_model" in row and sum(name in row for name in ("decision", *_FURTHER)) > 1


def _labels(row: Record, model: str, *, cut: bool) -> dict[str, Json]:
    adaptation = member(row.get("learning"), "adaptation")
    drawn = truth(member(adaptation, "sampling", "used"))
    milliseconds = whole_number(row.get("duration_ms"))
    sure = row.get("confidence_score") if row.get("confidence_score_available") is not False else None
    tags = {name: words(row.get(name)) for name in ("decision", "category", "reasoning_mode")}
    dollars = (words(row.get("currency")) or "USD").upper() == "USD"
    return filled(
        {
            "call_id": row.get("id"),
            "session_id": first_words(row.get("session_id"), row.get("conversation_id")),
            "time": row.get("timestamp"),
            "tags": [f"{name}:{value}" for name, value in tags.items() if value],
            "truncated": cut or None,
            "cost_usd": paid(row.get("actual_cost"), model) if dollars else None,
            "input_tokens": row.get("prompt_tokens"),
            "output_tokens": row.get("completion_tokens"),
            "latency_s": None if milliseconds is None else milliseconds / 1000,
            "policy_version": first_words(row.get("recipe"), member(adaptation, "snapshot_identity")),
            "decision_source": "learned" if adaptation or row.get("learning") else "rule",
            "confidence": sure,
            "propensity": None if drawn else 1.0,
        }
    )


def _judgements(row: Record) -> Iterable[Judgement]:
    """The outcomes of the model that answered; those of a tool or of another model say nothing of it."""
    for outcome in listed(row.get("outcomes")):
        target, named = member(outcome, "target"), member(outcome, "target_ref")
        of_another = target == "model" and named not in (None, "", row.get("selected_model"))
        if of_another or target not in _TARGETS:
            continue
        source = (words(member(outcome, "source")) or "").lower()
        judge: Judge = "feedback" if any(who in source for who in _PEOPLE) else "evaluation"
        good = _VERDICTS.get(words(member(outcome, "verdict")) or "")
        score = member(outcome, "score")
        graded = isinstance(score, int | float) and not isinstance(score, bool) and 0 < score <= 1
        if good is not None or graded:
            yield Judgement(judge=judge, good=good, grade=score if graded else None)


_TARGETS = (None, "", "model", "route", "decision", "response")
_PEOPLE = ("user", "human", "client")


READER = VllmSemanticRouter()
