"""The declared outcome rules over a batch of checked rows, in the read pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from router.forecasting.answer_numbers import answer_numbers
from router.records import Json, Request, message_texts
from router.settings.outcome_rules import OutcomeRule, SchemaRule
from training.readers.cells import parse_json
from training.readers.protocol import EVIDENCE_FIELDS
from training.readers.values import words
from training.reading.files.raw import RawRows
from training.reading.outcomes.answer_check import keeps_to_schema, logged_answer, whole_answer
from training.reading.outcomes.rules import (
    NO_TURNS,
    CallEvidence,
    RuleVotes,
    chat_reason,
    source_of,
    votes_on_call,
)
from training.reading.rows.cleaning import CALL_SCHEMA, CleanRows

RULE_COLUMNS = {
    "yes": pa.int64(), "no": pa.int64(), "failed": pa.bool_(), "in_session": pa.bool_(),
    "turn": pa.large_string(), "answer": pa.large_string(), "numbers": pa.large_list(pa.float32()),
}  # fmt: skip
"""Columns of the scratch folder beside a call's fields, if there are rules: the bits of `RuleVotes`, and what
session rules, the judge and the grader read."""

_JSON_FIELDS = ("messages", "tools", "response_format")
_TURN_CHARACTERS = 500


def with_outcomes(
    rules: Sequence[OutcomeRule], rows: RawRows, clean: CleanRows, *, grade: bool = False
) -> tuple[CleanRows, Mapping[str, pa.Array]]:
    """The rows with the outcomes of the rules that look at one call alone, and the `RULE_COLUMNS`.

    If no rule votes, the outcome is unknown, whatever the log says.

    Raises:
        CallLogError: a function of the rules fails.
    """
    if not rules:
        return clean, {}
    names = _fields_read(rules, grade)
    columns = {name: clean.columns[name].to_pylist() for name in names}
    columns |= {name: rows.columns[name] for name in EVIDENCE_FIELDS if name in rows.columns}
    with_whole = any(rule.function for rule in rules)
    calls = [
        _evidence({name: values[row] for name, values in columns.items()}, with_whole) if key else None
        for row, key in enumerate(clean.keys)
    ]
    votes = [votes_on_call(rules, call) if call else RuleVotes() for call in calls]
    decisions = [each.decision() for each in votes]
    outcomes = {
        "success": [decision and decision.success for decision in decisions],
        "outcome_source": [
            source_of(rules[decision.rule], call.source) if decision and call else call and call.source
            for decision, call in zip(decisions, calls, strict=True)
        ],
    }
    arrays = {name: pa.array(values, CALL_SCHEMA.field(name).type) for name, values in outcomes.items()}
    extra: dict[str, Sequence[Json]] = {
        "yes": [each.yes for each in votes],
        "no": [each.no for each in votes],
        "failed": [bool(call and call.failed) for call in calls],
        "in_session": [call is not None and call.source not in NO_TURNS for call in calls],
    }
    if any(rule.next_turn for rule in rules):
        texts = zip(columns["prompt"], columns["messages"], strict=True)
        extra["turn"] = [_turn(*text) if key else None for text, key in zip(texts, clean.keys, strict=True)]
    judge = next((number for number, rule in enumerate(rules) if rule.judge), None)
    if judge is not None:
        extra["answer"] = [
            whole_answer(call.answer) if call and not call.failed and not each.decided_by(judge) else None
            for call, each in zip(calls, votes, strict=True)
        ]
    if grade:
        fields = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        extra["numbers"] = [
            _numbers(call, row) if call and not call.failed else None
            for call, row in zip(calls, fields, strict=True)
        ]
    return (
        replace(clean, columns={**clean.columns, **arrays}),
        {name: pa.array(values, RULE_COLUMNS[name]) for name, values in extra.items()},
    )


def _fields_read(rules: Sequence[OutcomeRule], grade: bool) -> Sequence[str]:
    """The fields that the rules look at; the others need no conversion, which takes time."""
    if any(rule.function for rule in rules):
        return tuple(CALL_SCHEMA.names)
    names = ["success", "score", "outcome_source", *(["output_tokens"] if grade else ())]
    if grade or any(rule.answer_schema for rule in rules):
        names += ["tools", "response_format"]
    if grade or any(rule.next_turn for rule in rules):
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


def _turn(prompt: str | None, messages: str | None) -> str | None:
    """The beginning of the user's last message."""
    if messages is None:
        return prompt and prompt[:_TURN_CHARACTERS]
    texts = [text for role, text in message_texts(parse_json(messages)[0]) if role == "user"]
    return texts[-1][:_TURN_CHARACTERS] if texts else None


def _numbers(call: CallEvidence, fields: Mapping[str, Json]) -> Sequence[float] | None:
    """What a grader learns from; None if the log lacks the whole answer."""
    if whole_answer(call.answer) is None:
        return None
    bounds = SchemaRule()
    keeps_form = keeps_to_schema(
        call.answer, call.response_format, call.tools, max_bytes=bounds.max_bytes, timeout_s=bounds.timeout_s
    )
    prompt, messages = fields["prompt"], fields["messages"]
    request = Request.of(
        prompt or "" if messages is None else parse_json(messages)[0],
        tools=call.tools and parse_json(call.tools)[0],
        response_format=call.response_format and parse_json(call.response_format)[0],
    )
    numbers = answer_numbers(
        request,
        logged_answer(call.answer),
        finish_reason=call.finish_reason and chat_reason(call.finish_reason),
        output_tokens=fields["output_tokens"],
        keeps_form=keeps_form,
    )
    return list(numbers.values())
