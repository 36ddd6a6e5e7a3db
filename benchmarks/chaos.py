"""The page of reliability: what each fault of `benchmarks.faults` did to requests and to the call log."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from benchmarks.faults import AT_ONCE, FAULTS, HASTY_S, KEY_VARIABLE, Bench, Counts, Fault
from benchmarks.measuring import ONE_THREAD, machine
from tests.services.provider import KEY

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
FULL = 200
"""The scale that gives over `ENOUGH` requests."""
ENOUGH = 100_000
HEAD = """# Reliability

What faults do to requests and to the call log. `python -m benchmarks.chaos` injects each fault for real,
on loopback: a provider that misbehaves, processes that are killed, an MLflow server that stops; only the
paid models are stand-ins. The aim: no request fails that a model could answer, no row is lost but those
of the last moment before `kill -9`, and no request passes a limit.
"""
LEGEND = f"""
- **struck**: how often the fault was met: requests that reached the failing model, changes, kills,
  outages, odd requests.
- **failed**: requests with another end than the right one. Right is the next model's answer; the
  provider's own error where the request itself is wrong; `StreamBroken` where a stream breaks after its
  first word; for odd requests a decision or a refusal. A provider's fault is met plain and as a stream,
  sync and async, {AT_ONCE} requests at once, with cool-downs off.
- **rows expected**: the requests that arrived at a provider, one row for each attempt (one that fails
  on its way to a busy provider has a row too); for `kill -9` the rows flushed before; for zeros over a page
  the rows written afterwards (the damaged file is set aside).
- **past a limit**: every fifth request to a provider, and every fifth odd one, is `local_only`; this
  counts what reached a model elsewhere.
- **longest**: seconds of the longest request, or of the longest wait for rows to be stored. Silence lasts
  until the timeout: {HASTY_S:g} s, or {2 * HASTY_S:g} s after two words.
"""
COLUMNS = """
|  | fault | struck | requests | failed | rows expected | rows found | past a limit | longest, s |
|---|---|--:|--:|--:|--:|--:|--:|--:|"""


def page(results: Mapping[Fault, Counts], scale: int, where: Mapping[str, str]) -> str:
    """The results in Markdown; where the aim is missed comes first."""
    missed = [f"- **Missed**: {fault.name}: {miss}." for fault, one in results.items() for miss in one.misses]
    if (sent := sum(one.requests for one in results.values())) < ENOUGH:
        sizes = f"{sent:,} requests (`--scale {scale}`); the aim is {ENOUGH:,} (`--scale {FULL}`)"
        missed = [f"- **A small run**: {sizes}.", *missed]
    lines = [HEAD, *missed, *[""] * bool(missed), _sums(results), COLUMNS]
    lines += [f"| {' | '.join(_cells(fault, one))} |" for fault, one in results.items()]
    measured_on = "; ".join(f"{name} {value}" for name, value in where.items())
    return "\n".join([*lines, LEGEND, f"Measured on: {measured_on}.", ""])


def _sums(results: Mapping[Fault, Counts]) -> str:
    every = results.values()
    requests, rows = sum(one.requests for one in every), sum(one.expected for one in every)
    failed, past = sum(len(one.wrong) for one in every), sum(one.past_limit for one in every)
    lost = sum(one.expected - one.found for one in every)
    return (
        f"{len(every)} faults, {requests:,} requests, {rows:,} rows: {failed} requests failed, "
        f"{lost} rows lost, {past} requests past a limit."
    )


def _cells(fault: Fault, one: Counts) -> tuple[str, ...]:
    requests = (f"{one.requests:,}", str(len(one.wrong))) if one.requests else ("", "")
    longest = "" if one.longest_s is None else f"{one.longest_s:.2f}"
    rows = (f"{one.expected:,}", f"{one.found:,}") if one.expected else ("", "")
    return (fault.area, fault.name, f"{one.injected:,}", *requests, *rows, str(one.past_limit), longest)


def _where() -> dict[str, str]:
    """The machine, and how busy it is: other programs make every wait longer."""
    load = {"load": f"{os.getloadavg()[2]:.0f} over 15 minutes"} if hasattr(os, "getloadavg") else {}
    return {**machine(), **load}


def main() -> None:
    """Inject every fault, print what came of it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scale", type=int, default=FULL, help="1: the short form; by default over 100,000 requests"
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="written anew after every fault")
    options = parser.parse_args()
    os.environ |= {KEY_VARIABLE: KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **ONE_THREAD}
    console = Console()
    results: dict[Fault, Counts] = {}
    with tempfile.TemporaryDirectory(prefix="pointsman-chaos-") as folder, ExitStack() as exits:
        bench = Bench(folder=Path(folder), scale=options.scale, exits=exits)
        for fault in FAULTS:
            began = time.perf_counter()
            results[fault] = fault.run(bench)
            console.print(
                f"{time.perf_counter() - began:7.1f} s  {fault.area}: {fault.name}", *results[fault].misses
            )
            options.out.write_text(page(results, options.scale, _where()), encoding="utf-8")


if __name__ == "__main__":
    main()
