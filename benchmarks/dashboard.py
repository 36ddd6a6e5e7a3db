"""How long the dashboard takes to open on a log of a million calls: the first look, and the next one.

    python -m benchmarks.dashboard [--calls 1000000] [--log FILE.db or postgresql://...]

The log is made here, in the form that the router writes, if the address has none: prompts of 500 to 3,000
characters over 90 days, one attempt in forty failed and answered by a fallback, feedback on one call in five.
Each look is a process of its own: the page of the last seven days, as it opens, or over the whole log. The
first look adds up the calls, which `pointsman dashboard` does before it listens; the next one finds the sums
kept; and the page again is what a dashboard that runs answers with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC
from itertools import islice
from pathlib import Path

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, show
from router.call_log.address import LogAddress
from router.call_log.rows import COLUMNS, CallRecord, Row, dump_json, fit_row
from router.call_log.store import DatabaseStore
from router.records import Json

MODULE = "benchmarks.dashboard"
SECONDS = 3.0
START, DAYS = 1_780_000_000.0, 90
WORDS = (
    "please the order parcel why how much invoice code function error when list of in python for customer a "
    "to is translate summary text answer with email subject date price delivery account table query"
).split()
MODELS = ("gpt-4.1-mini", "gpt-4o", "ollama/llama3.1")
TASKS = ("support", "coding", "chat", "extraction", "translation", None)
TAGS = ((), ("web",), ("web", "beta"), ("batch",))
AT_ONCE = 5000


def made_rows(calls: int) -> Iterator[tuple[Row, Row | None]]:
    """The rows of so many attempts in the order of time, each with the feedback on it."""
    draw = random.Random(0)
    text = " ".join(draw.choices(WORDS, k=100_000))
    number = 0
    while number < calls:
        request = f"{draw.getrandbits(128):032x}"
        common: dict[str, Json] = {
            "session_id": f"session-{number // 4}" if draw.random() < 0.5 else None,
            "request_id": request,
            "task_type": draw.choice(TASKS),
            "tags": draw.choice(TAGS),
            "decision_source": "rules" if draw.random() < 0.1 else "learned",
            "policy_version": f"v{1 + 3 * number // calls}",
            "baseline_model": "gpt-4o",
        }
        start = draw.randrange(len(text) - 3000)
        messages = dump_json([{"role": "user", "content": text[start : start + draw.randint(500, 3000)]}])
        chosen = model = draw.choice(MODELS)
        moment = START + number / calls * DAYS * 86_400
        tokens = len(messages) // 4
        if draw.random() < 0.025:
            values = {**common, "chosen_model": chosen, "attempt": 1, "error": "rate_limit: RateLimitError"}
            yield _row(f"{request}-1", moment, messages, model, values), None
            number += 1
            model = MODELS[1]
        cost = tokens * draw.uniform(1e-7, 1e-5)
        values = {
            **common, "chosen_model": chosen, "attempt": 1, "input_tokens": tokens,
            "cost_usd": cost if draw.random() < 0.98 else None,
            "output_tokens": draw.randint(10, 900), "latency_s": draw.lognormvariate(0, 0.8),
            "baseline_cost_usd": tokens * 1e-5, "confidence": draw.random(), "propensity": 0.9,
            "alternatives": {one: draw.random() for one in MODELS}, "finish_reason": "stop",
        }  # fmt: skip
        feedback = None
        if draw.random() < 0.2:
            said = {"success": draw.random() < 0.8, "score": None, "source": "thumbs"}
            feedback = fit_row(
                {"feedback_id": f"{number:020d}", "call_id": request, "time": moment + 60, **said}
            )
        yield _row(request, moment + 0.5, messages, model, values), feedback
        number += 1


def _row(call_id: str, moment: float, messages: str, model: str, values: dict[str, Json]) -> Row:
    record = CallRecord(call_id=call_id, time=moment, messages=messages, model=model, **values)
    return fit_row({name: getattr(record, name) for name in COLUMNS})


def make_log(url: str, calls: int) -> None:
    """Write the log by the router's own statements."""
    store = DatabaseStore(LogAddress.of(url))
    rows = made_rows(calls)
    while some := list(islice(rows, AT_ONCE)):
        assert not store.append_calls([row for row, _ in some])
        assert not store.append_feedback([feedback for _, feedback in some if feedback])
    store.close()


def looked(url: str, cache: str, days: str) -> dict[str, float]:
    """Seconds and processor seconds of a page, and of the page again; days "all": the whole log."""
    from training.dashboard.kept import KeptCells
    from training.dashboard.pages import Site, dashboard_page
    from training.dashboard.query import Query

    began, used = time.perf_counter(), time.process_time()
    site = Site(kept=KeptCells(url, Path(cache), UTC))
    dashboard_page(site, Query.of([("period", days)]))
    opened, processor = time.perf_counter(), time.process_time() - used
    dashboard_page(site, Query.of([("period", days)]))
    return {"seconds": opened - began, "processor": processor, "again": time.perf_counter() - opened}


PARTS = {"looked": looked}


def measured(url: str, calls: int, runs: int) -> list[Figure]:
    """The first and the next look, each time from an empty cache."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(runs):
        for days in ("7", "all"):
            with tempfile.TemporaryDirectory(prefix="pointsman-dashboard-") as cache:
                for look in ("first", "next"):
                    name = f"{look} look, " + ("last 7 days" if days == "7" else "whole log")
                    found.setdefault(name, []).append(in_fresh_process(MODULE, "looked", url, cache, days))
    return [
        figure(f"{name} of {calls:,} calls: {what}", "s", [one[part] for one in looks], target)
        for name, looks in found.items()
        for what, part, target in (
            ("time", "seconds", SECONDS),
            ("processor time", "processor", None),
            ("the page again", "again", SECONDS),
        )
        if part != "again" or name.startswith("next")
    ]


def main() -> None:
    """Run one part and print what it returns, or make the log, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--log", help="its address; a SQLite file there is used as it is")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    with tempfile.TemporaryDirectory(prefix="pointsman-dashboard-") as folder:
        url = options.log or f"{folder}/calls.db"
        if not Path(url).is_file():
            make_log(url, options.calls)
        print(f"load before: {os.getloadavg()[0]:.1f}")
        show(machine(), measured(url, options.calls, options.runs))


if __name__ == "__main__":
    main()
