"""How long `pointsman compare` takes on a log of a million calls, and how much memory it holds.

    python -m benchmarks.comparing [--calls 1000000] [--draws 1000]

The log is made here: one call a prompt, drawn by a logging policy with known propensities, so that the
comparison is off-policy. Five policies of the team's own, four functions and a file of choices, are compared
beside every baseline; the router is trained on the bundled sample, with the static encoder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, peak_memory, show
from router.records import Request, prompt_key

SAMPLE = Path(__file__).parents[1] / "data" / "sample_calls.parquet"
MODULE = "benchmarks.comparing"
WORDS = (
    "bike ring lamp saddle brake chain wheel rent return deposit invoice refund station map tour "
    "group price total repair lock helmet child weekend hour day late early broken lost found"
).split()
FUNCTIONS = ("by_length", "by_word", "by_task", "by_turns")
MODELS = ("gpt-4.1-mini", "gpt-4o", "gpt-5", "ollama/llama3.1")
"""Of the sample."""
SECONDS, MEGABYTES = 60.0, 2_000.0


def made_log(folder: Path, calls: int) -> tuple[Path, Path]:
    """A log of one call a prompt, and a file of choices for all of its prompts."""
    rng = np.random.default_rng(0)
    words = np.array(WORDS)[rng.integers(0, len(WORDS), (calls, 12))]
    prompts = [f"{' '.join(row)} {number}" for number, row in enumerate(words)]
    chance = np.full(len(MODELS), 0.4 / (len(MODELS) - 1))
    chance[-1] = 0.6
    taken = rng.choice(len(MODELS), calls, p=chance)
    log = folder / "calls.parquet"
    pl.DataFrame(
        {
            "call_id": [str(number) for number in range(calls)],
            "session_id": [str(number) for number in rng.integers(0, calls // 3, calls)],
            "prompt": prompts,
            "task_type": np.array(["support", "coding", "chat"])[rng.integers(0, 3, calls)],
            "model": np.array(MODELS)[taken],
            "success": rng.random(calls) < 0.5 + 0.1 * taken,
            "cost_usd": 0.001 * 3.0**taken * rng.uniform(0.5, 2.0, calls),
            "input_tokens": np.full(calls, 30),
            "output_tokens": rng.integers(20, 200, calls),
            "propensity": chance[taken],
        }
    ).write_parquet(log)
    chosen = np.array(MODELS)[rng.integers(0, len(MODELS), calls)]
    keys = [prompt_key(Request.of(prompt).messages) for prompt in prompts]
    choices = folder / "choices.jsonl"
    pl.DataFrame({"prompt_key": keys, "model": chosen}).write_ndjson(choices)
    return log, choices


def by_length(requests: list[dict[str, Any]]) -> list[str]:
    """A team's own policy: long prompts to the last model by name, the others to the first."""
    return [MODELS[-1] if len(request["prompt"]) > 70 else MODELS[0] for request in requests]


def by_word(requests: list[dict[str, Any]]) -> list[str]:
    """Prompts that mention a repair to the second model, the others to the first."""
    return [MODELS[1] if "repair" in request["prompt"] else MODELS[0] for request in requests]


def by_task(requests: list[dict[str, Any]]) -> list[str]:
    """Coding to the third model, the others to the second."""
    return [MODELS[2] if request["task_type"] == "coding" else MODELS[1] for request in requests]


def by_turns(requests: list[dict[str, Any]]) -> list[str]:
    """Every model in turn."""
    return [MODELS[number % len(MODELS)] for number in range(len(requests))]


def timed_comparison(*command: str) -> dict[str, float]:
    """Seconds and most memory of one run of the command, in this process."""
    import training.commands  # noqa: F401 - adds the commands
    from router.cli.console import app

    began = time.perf_counter()
    app(list(command), standalone_mode=False)
    return {"seconds": time.perf_counter() - began, "megabytes": peak_memory()}


PARTS = {"timed_comparison": timed_comparison}


def measured(calls: int, draws: int, runs: int) -> list[Figure]:
    """Train a router on the sample, make the log, and compare on it in fresh processes."""
    with tempfile.TemporaryDirectory(prefix="pointsman-comparing-") as scratch:
        folder = Path(scratch)
        router = folder / "router"
        train = ["train", str(SAMPLE), "--out", str(router), "--encoder", "static"]
        tracking = ["--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        subprocess.run(
            [sys.executable, "-m", "router.cli", *train, *tracking], check=True, capture_output=True
        )
        log, choices = made_log(folder, calls)
        own = [f"{name}={MODULE}:{name}" for name in FUNCTIONS] + [f"file={choices}"]
        found = []
        for number in range(runs):
            policies = [f"--policy={one}" for one in own]
            cache = folder / f"cache{number}"
            command = [
                "compare", str(log), "--router", str(router), "--out", str(folder / "report"),
                "--draws", str(draws), "--cache", str(cache), "--no-record", *policies,
            ]  # fmt: skip
            found.append(in_fresh_process(MODULE, "timed_comparison", *command))
    name = f"compare {calls:,} calls, {len(own)} own policies and all baselines, {draws:,} draws"
    return [
        figure(f"{name}: time", "s", [one["seconds"] for one in found], SECONDS),
        figure("its most memory", "MB", [one["megabytes"] for one in found], MEGABYTES),
    ]


def main() -> None:
    """Run one part and print what it returns, or measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    show(machine(), measured(options.calls, options.draws, options.runs))


if __name__ == "__main__":
    main()
