"""Time and memory of training on logs at its limits: models, task types, prompts, equal rows, gzip bombs."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, peak_memory, show
from benchmarks.reading import WORDS

MODULE = "benchmarks.training_limits"
SECONDS, MEGABYTES = 600.0, 4_000.0
"""Targets for each log on two cores."""
BLOCK = 1 << 20


def calls(count: int, models: int, task_types: int, seed: int = 0) -> Iterator[bytes]:
    """Lines of a canonical log: each model has a skill and a price, each prompt is tried once."""
    draw = random.Random(seed)
    for number in range(count):
        model = number % models
        text = f"{number} " + " ".join(draw.choices(WORDS, k=draw.randint(5, 40)))
        yield _line(
            prompt=text,
            model=f"model-{model:03}",
            success=draw.random() < 0.5 + 0.4 * model / models,
            cost_usd=0.0001 * (1 + model),
            input_tokens=len(text) // 4,
            output_tokens=40,
            task_type=f"task-{draw.randrange(task_types):04}",
        )


def large_calls(prompts: int, seed: int = 0) -> Iterator[bytes]:
    """Lines of a log in which each prompt met three of six models, the dear ones better."""
    draw = random.Random(seed)
    for number in range(prompts):
        text = f"{number} " + " ".join(draw.choices(WORDS, k=draw.randint(10, 150)))
        for model in draw.sample(range(6), 3):
            output = draw.randint(20, 600)
            yield _line(
                prompt=text,
                model=f"model-{model}",
                success=draw.random() < 0.4 + 0.1 * model - len(text) / 4000,
                cost_usd=1e-6 * 2**model * (len(text) // 4 + 4 * output),
                input_tokens=len(text) // 4,
                output_tokens=output,
            )


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def equal_calls(count: int) -> Iterator[bytes]:
    """Lines of a log that holds one call again and again."""
    line = _line(
        prompt="why " * 40, model="model-0", success=True, cost_usd=0.001, input_tokens=40, output_tokens=9
    )
    return (line for _ in range(count))


def long_line(size: int) -> Iterator[bytes]:
    """One call whose prompt has `size` bytes, in pieces."""
    yield b'{"model": "model-0", "success": true, "prompt": "'
    yield from (b"a" * BLOCK for _ in range(size // BLOCK))
    yield b'"}\n'


def usable_calls() -> Iterator[bytes]:
    """A small log that a router can learn from."""
    return calls(900, models=3, task_types=3)


def _with_bomb() -> Iterator[bytes]:
    yield from usable_calls()
    yield from long_line(3 << 30)


Log = tuple[str, Callable[[], Iterator[bytes]]]
LIMITS: Mapping[str, Log] = {
    "200 models, 12,000 rows": ("models.jsonl", lambda: calls(12_000, models=200, task_types=5)),
    "5,000 task types, 6,000 rows": ("tasks.jsonl", lambda: calls(6_000, models=4, task_types=5_000)),
    "1,000,000 equal rows": ("equal.jsonl", lambda: equal_calls(1_000_000)),
    "900 rows and a line of 3 GB, gzip": ("bomb.jsonl.gz", _with_bomb),
    "3,000,000 equal rows, gzip": ("rows.jsonl.gz", lambda: equal_calls(3_000_000)),
}
"""File name and lines of each log."""
SCALES = (30_000, 100_000, 300_000, 1_000_000)
LOGS: Mapping[str, Log] = {
    **LIMITS,
    **{f"{count:,} prompts": (f"{count}.jsonl", partial(large_calls, count)) for count in SCALES},
}
"""The logs of `LIMITS`, and those that are measured only by name, because they take long."""


def write(path: Path, lines: Iterator[bytes]) -> int:
    """Write a log, compressed if its name says so, and return its size in bytes."""
    with gzip.open(path, "wb", 6) if path.suffix == ".gz" else path.open("wb") as stream:
        for line in lines:
            stream.write(line)
    return path.stat().st_size


def trained(log: str, folder: str) -> dict[str, float | str]:
    """Seconds and most memory of training on a log, and why it was refused, if it was."""
    from router.errors import RouterError
    from router.settings.yaml_file import load_config
    from training.pipeline import TrainJob, train_on_log
    from training.progress import Silent
    from training.prompts.from_logs import ReadOptions

    place = Path(folder)
    config = load_config(None)
    static = config.training.model_copy(update={"encoder": "static"})
    reading = ReadOptions(
        mapping={},
        rejects=place / "rejects.jsonl",
        config=config.model_copy(update={"training": static}),
        cache=place / "cache",
    )
    job = TrainJob(
        sources=[log],
        out=place / "router",
        reading=reading,
        tracking_uri=f"sqlite:///{place}/mlflow.db",
        register=None,
    )
    began, spent, refusal = time.perf_counter(), time.process_time(), ""
    try:
        train_on_log(job, Silent())
    except RouterError as error:
        refusal = " ".join(str(error).split())[:300]
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - spent,
        "megabytes": peak_memory(),
        "refusal": refusal,
    }


def figures(name: str) -> list[Figure]:
    """Time and memory of training on one of `LOGS`."""
    file, lines = LOGS[name]
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder:
        log = Path(folder, file)
        size = write(log, lines())
        run = in_fresh_process(MODULE, "trained", log, folder)
    print(f"{name} ({size / 1e6:.1f} MB): {run['refusal'] or 'trained'}", flush=True)
    return [
        figure(f"{name}: time", "s", [run["seconds"]], SECONDS),
        figure(f"{name}: processor time", "s", [run["processor"]]),
        figure(f"{name}: most memory", "MB", [run["megabytes"]], MEGABYTES),
    ]


PARTS = {"trained": trained}


def main() -> None:
    """Run one part and print what it returns, or all of them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", choices=LOGS, action="append")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    show(machine(), [one for name in options.log or LIMITS for one in figures(name)])


if __name__ == "__main__":
    main()
