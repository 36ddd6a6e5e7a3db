"""Writes `sample_calls.parquet`: six weeks of synthetic LLM calls of an invented company.

Run it from the repository root: `python -m data.make_sample`. With `--efforts --out PATH` two of the models
answer each prompt at two reasoning efforts.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.sample_outcomes import (
    EFFORTS,
    MINI,
    MODELS,
    OLDER,
    SMALL,
    STRONG,
    Answer,
    Model,
    draw_answer,
    failed_answer,
)
from data.sample_pen import read_vocabulary
from data.sample_requests import Draft, draw_conversation
from router.deciding.rules import heuristic_model
from router.effort import effort_in, endpoint_of
from router.records import Json, prompt_key
from router.settings.sections import HeuristicModels

SAMPLE = Path(__file__).with_name("sample_calls.parquet")
SEED = 20260914
FIRST_DAY = datetime(2026, 9, 14, tzinfo=UTC)
WEEKS = 6
EVALUATED, REPLAYED, PRODUCTION = 700, 150, 1060
REPEATED = 40
KIND_SHARES = {
    "support": 0.26, "extraction": 0.17, "coding": 0.18, "analysis": 0.15, "tool_use": 0.14, "chat": 0.1,
}  # fmt: skip
LOGGING_POLICY = HeuristicModels(strong=STRONG, middle=OLDER, cheap=MINI)
EXPLORATION = 0.2
"""Share of production calls whose model is drawn uniformly from all."""
POLICY_VERSION = "keywords-2026-09"
LOGGED_CHARACTERS = 400
"""Length to which the log cuts the text of a truncated call."""
HOURS = {6: 2, 7: 6, 8: 10, 9: 11, 10: 9, 11: 6, 12: 8, 13: 10, 14: 9, 15: 6, 16: 3, 17: 1, 20: 1}
"""Weight of each hour (UTC) of a working day."""

COLUMNS = pa.schema(
    [
        pa.field("call_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("prompt", pa.string()),
        pa.field("messages", pa.string()),
        pa.field("tools", pa.string()),
        pa.field("response_format", pa.string()),
        pa.field("task_type", pa.string()),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("success", pa.bool_()),
        pa.field("score", pa.float64()),
        pa.field("outcome_source", pa.string(), nullable=False),
        pa.field("cost_usd", pa.float64()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("latency_s", pa.float64(), nullable=False),
        pa.field("propensity", pa.float64()),
        pa.field("policy_version", pa.string()),
        pa.field("decision_source", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)
WITH_EFFORT = COLUMNS.append(pa.field("effort", pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """A request to the company, with what the log keeps of it whichever model answers.

    Attributes:
        bare: the log keeps its one message as text in `prompt`.
    """

    draft: Draft
    time: datetime
    session_id: str | None
    task_type: str | None
    tags: tuple[str, ...]
    bare: bool


def make_rows(seed: int = SEED, models: Mapping[str, Model] = MODELS) -> list[dict[str, Any]]:
    """All rows of the log, in order of time.

    Args:
        models: what may answer, by the name of the model or of its action, `gpt-5@low`.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    evaluated, production = (draw_requests(rng, count, seen) for count in (EVALUATED, PRODUCTION))
    first_weeks = [request for request in production if request.time < FIRST_DAY + timedelta(weeks=WEEKS - 1)]
    replayed = rng.sample(first_weeks, REPLAYED)
    again = [
        replace(request, time=request.time + _some_hours(rng))
        for request in rng.sample(first_weeks, REPEATED)
    ]
    rows = [_production_row(request, models, rng) for request in production + again]
    for source, part in (("evaluation", evaluated), ("replay", replayed)):
        for request in part:
            rows += _evaluation_rows(request, source, models, rng)
    rows.sort(key=lambda row: row["time"])
    return [{"call_id": f"call-{number:05d}", **row} for number, row in enumerate(rows, start=1)]


def draw_requests(rng: random.Random, count: int, seen: set[str]) -> list[SampleRequest]:
    """Draw distinct requests, in conversations, spread over the six weeks.

    Args:
        seen: keys of the prompts drawn before, which are not drawn again; the new keys are added.
    """
    vocabulary = read_vocabulary()
    requests: list[SampleRequest] = []
    while len(requests) < count:
        kind = rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]
        conversation = draw_conversation(kind, rng, vocabulary)
        keys = {prompt_key(list(one.messages), one.tools, one.response_format) for one in conversation}
        if keys & seen:
            continue
        requests += _requests_of(conversation, f"s-{len(seen):05d}", rng, vocabulary["tags"])
        seen |= keys
    return requests[:count]


def _requests_of(
    conversation: Sequence[Draft], session: str, rng: random.Random, tags: Sequence[str]
) -> list[SampleRequest]:
    time = _working_time(rng)
    task_type = conversation[0].kind if rng.random() < 0.85 else None
    chosen = tuple(sorted(rng.sample(tags, rng.choice((1, 1, 2))))) if rng.random() < 0.3 else ()
    has_session = len(conversation) > 1 or rng.random() < 0.2
    requests = []
    for draft in conversation:
        bare = len(draft.messages) == 1 and rng.random() < 0.7
        session_id = session if has_session else None
        requests.append(
            SampleRequest(
                draft=draft, time=time, session_id=session_id, task_type=task_type, tags=chosen, bare=bare
            )
        )
        time += timedelta(seconds=rng.randint(20, 400))
    return requests


def _working_time(rng: random.Random) -> datetime:
    week, weekday = rng.randrange(WEEKS), rng.choices(range(7), (20, 20, 19, 19, 16, 4, 2))[0]
    hour = rng.choices(list(HOURS), list(HOURS.values()))[0]
    return FIRST_DAY + timedelta(
        days=7 * week + weekday, hours=hour, microseconds=rng.randrange(3_600_000_000)
    )


def _some_hours(rng: random.Random) -> timedelta:
    return timedelta(minutes=rng.randint(5, 3000))


def propensities(text: str, models: Mapping[str, Model] = MODELS) -> dict[str, float]:
    """Chance of each action under the logging policy: the keyword heuristic, or else a uniform draw.

    The heuristic's model answers at any of its efforts alike.
    """
    policy = LOGGING_POLICY if MINI in models else LOGGING_POLICY.model_copy(update={"cheap": SMALL})
    usual = heuristic_model(text, policy)
    actions = [name for name in models if endpoint_of(name) == usual]
    even, more = EXPLORATION / len(models), (1 - EXPLORATION) / len(actions)
    return {name: round(even + more * (name in actions), 6) for name in models}


def _production_row(
    request: SampleRequest, models: Mapping[str, Model], rng: random.Random
) -> dict[str, Any]:
    """One call of the model that the logging policy chose, with its outcome if the caller gave feedback."""
    chances = propensities(request.draft.text, models)
    model = rng.choices(list(chances), list(chances.values()))[0]
    is_error = rng.random() < 0.018
    answer = failed_answer(rng) if is_error else draw_answer(models[model], request.draft, rng)
    known = rng.random()
    row = _row(request, model, answer) | {
        "outcome_source": "error" if is_error else "feedback",
        "propensity": chances[model],
        "policy_version": POLICY_VERSION,
        "decision_source": "rule",
    }
    if not is_error and known < 0.33:
        row["success"] = None
        row["score"] = answer.score if known < 0.08 else None
    return _cut(row, request) if rng.random() < 0.06 else row


def _cut(row: dict[str, Any], request: SampleRequest) -> dict[str, Any]:
    """The row in a log with a size limit."""
    if not request.bare or len(row["prompt"]) <= LOGGED_CHARACTERS:
        return row
    return row | {"prompt": row["prompt"][:LOGGED_CHARACTERS], "truncated": True}


def _evaluation_rows(
    request: SampleRequest, source: str, models: Mapping[str, Model], rng: random.Random
) -> list[dict[str, Any]]:
    """The calls of every model on one request, in the night of the Sunday after it."""
    days = 7 * ((request.time - FIRST_DAY).days // 7) + 6
    start = FIRST_DAY + timedelta(days=days, hours=22, microseconds=rng.randrange(7_000_000_000))
    rows = []
    for number, (model, settings) in enumerate(models.items()):
        answer = draw_answer(settings, request.draft, rng)
        row = _row(request, model, answer) | {
            "outcome_source": source,
            "time": start + timedelta(seconds=number),
        }
        if request.draft.kind in ("support", "analysis", "chat"):
            row["score"] = answer.score
        rows.append(row)
    return rows


def _row(request: SampleRequest, model: str, answer: Answer) -> dict[str, Any]:
    draft = request.draft
    return {
        "session_id": request.session_id,
        "time": request.time,
        "prompt": draft.messages[0]["content"] if request.bare else None,
        "messages": None if request.bare else _json(list(draft.messages)),
        "tools": _json(draft.tools),
        "response_format": _json(draft.response_format),
        "task_type": request.task_type,
        "tags": list(request.tags),
        "model": endpoint_of(model),
        "effort": effort_in(model),
        "success": answer.success,
        "score": None,
        "cost_usd": answer.cost_usd,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "latency_s": answer.latency_s,
        "propensity": None,
        "policy_version": None,
        "decision_source": None,
        "confidence": None,
        "truncated": False,
    }


def _json(value: Json) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def make_table(seed: int = SEED, *, efforts: bool = False) -> pa.Table:
    """The log as an Arrow table with the canonical columns."""
    rows = make_rows(seed, EFFORTS if efforts else MODELS)
    return pa.Table.from_pylist(rows, schema=WITH_EFFORT if efforts else COLUMNS)


def write_sample(path: Path, seed: int = SEED, *, efforts: bool = False) -> None:
    """Write the log; the same pyarrow writes the same bytes each time."""
    table = make_table(seed, efforts=efforts)
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=10_000)


def main() -> None:
    """Parse the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--efforts", action="store_true", help="two models at two reasoning efforts each")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    if arguments.efforts and arguments.out is None:
        parser.error("--efforts makes another log than the sample: say where with --out PATH")
    out = arguments.out or SAMPLE
    write_sample(out, arguments.seed, efforts=arguments.efforts)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
