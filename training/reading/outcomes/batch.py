"""The declared outcome rules over a batch of checked rows, in the read pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from router.records import Json, message_texts
from router.settings.outcome_rules import OutcomeRule
from training.readers.cells import parse_json
from training.readers.protocol import EVIDENCE_FIELDS
from training.readers.values import words
from training.reading.outcomes.answer_check import whole_answer
from training.reading.outcomes.rules import NO_TURNS, CallEvidence, Said, said_of_call, source_of
from training.reading.rows.cleaning import CALL_SCHEMA, CleanRows, RawRows

RULE_COLUMNS = {
    "yes": pa.int64(), "no": pa.int64(), "failed": pa.bool_(), "in_session": pa.bool_(),
    "turn": pa.large_string(), "answer": pa.large_string(),
}  # fmt: skip
"""What the scratch folder holds of a call beside its fields, where there are rules: the bits of `Said`, what
the rules of a session look at, and what a judge does."""

_JSON_FIELDS = ("messages", "tools", "response_format")
_TURN_CHARACTERS = 500


def with_outcomes(
    rules: Sequence[OutcomeRule], rows: RawRows, clean: CleanRows
) -> tuple[CleanRows, Mapping[str, pa.Array]]:
    """The rows with the outcomes that the rules find in each call alone, and the columns of `RULE_COLUMNS`.

    An outcome that no rule finds is unknown, whatever the log says.

    Raises:
        CallLogError: a function of the rules fails.
    """
    if not rules:
        return clean, {}
    names = _wanted(rules)
    columns = {name: clean.columns[name].to_pylist() for name in names}
    columns |= {name: rows.columns[name] for name in EVIDENCE_FIELDS if name in rows.columns}
    with_whole = any(rule.function for rule in rules)
    calls = [
        _evidence({name: values[row] for name, values in columns.items()}, with_whole) if key else None
        for row, key in enumerate(clean.keys)
    ]
    said = [said_of_call(rules, call) if call else Said() for call in calls]
    decided = [one.decision() for one in said]
    outcomes = {
        "success": [found and found[1] for found in decided],
        "outcome_source": [
            source_of(rules[found[0]], call.source) if found and call else call and call.source
            for found, call in zip(decided, calls, strict=True)
        ],
    }
    arrays = {name: pa.array(values, CALL_SCHEMA.field(name).type) for name, values in outcomes.items()}
    extra: dict[str, Sequence[Json]] = {
        "yes": [one.yes for one in said],
        "no": [one.no for one in said],
        "failed": [bool(call and call.failed) for call in calls],
        "in_session": [_in_session(call) for call in calls],
    }
    if any(rule.next_turn for rule in rules):
        texts = zip(columns["prompt"], columns["messages"], strict=True)
        extra["turn"] = [_turn(*one) if key else None for one, key in zip(texts, clean.keys, strict=True)]
    judge = next((number for number, rule in enumerate(rules) if rule.judge), None)
    if judge is not None:
        extra["answer"] = [
            whole_answer(call.answer) if call and not call.failed and not one.heard(judge) else None
            for call, one in zip(calls, said, strict=True)
        ]
    return (
        replace(clean, columns={**clean.columns, **arrays}),
        {name: pa.array(values, RULE_COLUMNS[name]) for name, values in extra.items()},
    )


def _wanted(rules: Sequence[OutcomeRule]) -> Sequence[str]:
    """The fields that the rules look at: taking a column apart costs time."""
    if any(rule.function for rule in rules):
        return tuple(CALL_SCHEMA.names)
    names = ["success", "score", "outcome_source"]
    if any(rule.answer_schema for rule in rules):
        names += ["tools", "response_format"]
    if any(rule.next_turn for rule in rules):
        names += ["prompt", "messages"]
    return names


def _evidence(fields: Mapping[str, Json], with_whole: bool) -> CallEvidence:
    return CallEvidence(
        success=fields["success"],
        score=fields["score"],
        source=fields["outcome_source"],
        finish_reason=words(fields.get("finish_reason")),
        error=words(fields.get("error")),
        answer=fields.get("answer"),
        tools=fields.get("tools"),
        response_format=fields.get("response_format"),
        whole=_opened(fields) if with_whole else {},
    )


def _opened(fields: Mapping[str, Json]) -> Mapping[str, Json]:
    texts = {name: fields[name] for name in _JSON_FIELDS if fields[name] is not None}
    return {**fields, **{name: parse_json(text)[0] for name, text in texts.items()}}


def _in_session(call: CallEvidence | None) -> bool:
    return call is not None and call.source not in NO_TURNS


def _turn(prompt: str | None, messages: str | None) -> str | None:
    """The beginning of the last thing the user said."""
    if messages is None:
        return prompt and prompt[:_TURN_CHARACTERS]
    said = [text for role, text in message_texts(parse_json(messages)[0]) if role == "user"]
    return said[-1][:_TURN_CHARACTERS] if said else None
