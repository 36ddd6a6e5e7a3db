"""What metrics and spans cost a decision: routers with and without them, turn by turn in one process."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.measuring import machine, stay_on_one_core
from router import Router
from tests.services.otlp import Receiver
from tests.services.ports import held_port

TURNS = 2_000
WARM_UP = 100


def microseconds(routers: Mapping[str, Router]) -> dict[str, list[float]]:
    """The time of each decision, by router."""
    spent: dict[str, list[float]] = {name: [] for name in routers}
    for turn in range(TURNS + WARM_UP):
        for name, router in routers.items():
            start = time.perf_counter()
            router.route(f"What is the fastest way to sort {turn} numbers, and why?", task_type="support")
            spent[name].append(1e6 * (time.perf_counter() - start))
    return {name: times[WARM_UP:] for name, times in spent.items()}


def main() -> None:
    """Print the median and the 99th percentile of each router."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", default="models/demo", help="folder of a trained router")
    folder = parser.parse_args().router
    stay_on_one_core()
    with Receiver() as receiver, held_port() as port:
        outlets: dict[str, dict[str, Any]] = {
            "no metrics": {},
            "Prometheus": {"prometheus_port": port},
            "OTLP with spans": {"opentelemetry": receiver.address, "interval_s": 1.0},
        }
        routers = {name: Router.load(folder, config={"metrics": one}) for name, one in outlets.items()}
        spent = microseconds(routers)
        for router in routers.values():
            router.close()
    for name, times in spent.items():
        last = statistics.quantiles(times, n=100)[98]
        print(f"{name:16} p50 {statistics.median(times):6.0f} us, p99 {last:6.0f} us")
    print(machine())


if __name__ == "__main__":
    main()
