"""What the benchmarks share: figures with their spread, the machine, and parts in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "numpy", "onnxruntime", "tokenizers", "pydantic", "litellm", "sqlalchemy", "daft", "polars",
    "scikit-learn", "torch",
)  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured.

    Attributes:
        low, middle, high: in `unit`; least, median and most of `runs`, or the 5th, 50th and 95th percentile.
        target: highest `middle` that the project aims at; None: no target.
    """

    name: str
    unit: str
    low: float
    middle: float
    high: float
    runs: int
    target: float | None = None


def figure(name: str, unit: str, values: Sequence[float], target: float | None = None) -> Figure:
    """Sum up the values: by percentiles if there are many, by extremes if there are few."""
    ordered = sorted(values)
    edge = len(ordered) // 20 if len(ordered) >= 100 else 0
    low, high = ordered[edge], ordered[-1 - edge]
    middle = ordered[len(ordered) // 2]
    return Figure(name=name, unit=unit, low=low, middle=middle, high=high, runs=len(ordered), target=target)


def stay_on_one_core() -> None:
    """Keep this process on one core, if the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def milliseconds(step: Callable[[int], object], turns: int) -> list[float]:
    """Milliseconds of each turn."""
    spent = []
    for turn in range(turns):
        began = time.perf_counter()
        step(turn)
        spent.append(1e3 * (time.perf_counter() - began))
    return spent


def peak_memory() -> float:
    """Most memory that this process has held so far, MB.

    On Linux from /proc: `getrusage` there also counts the parent as it stood when it started this process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def in_fresh_process(module: str, part: str, *arguments: object) -> Any:  # noqa: ANN401 - what the part returns
    """Run one of a benchmark's `PARTS` in a new Python process, and return its result.

    Raises:
        RuntimeError: the part failed; its error output follows.
    """
    command = [sys.executable, "-m", module, "--part", part, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{part} {arguments}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def show(where: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Print the machine and the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "median", "low", "high", "unit", "runs", "target", title="Speed")
    for one in figures:
        late = one.target is not None and one.middle > one.target
        shown = [
            f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (one.middle, one.low, one.high)
        ]
        target = "" if one.target is None else f"{one.target:g}"
        style = "yellow" if late else None
        table.add_row(one.name, *shown, one.unit, str(one.runs), target, style=style)
    console = Console(width=120 if not sys.stdout.isatty() else None)
    console.print(table)
    console.print("low and high: 5th and 95th percentile from 100 runs on, else least and most")
    console.print("; ".join(f"{name} {value}" for name, value in where.items()))
