"""What asking a second model is worth where the first one's answer looks wrong, on real answers."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs

from benchmarks.measuring import machine
from router.settings.sections import Config
from training.learning.cascade import CascadeTrial
from training.pipeline import Trained, TrainJob, train_on_log
from training.progress import Silent
from training.prompts.from_logs import ReadOptions

POOLS = {
    "those of mixed_traffic": ("o1-mini", "Llama"),
    "with two Llama": ("o1-mini",),
    "all nine": (),
}
"""Parts of the names of the models that each pool leaves out."""


KEPT = ("prompt", "model", "answer", "cost_usd", "input_tokens", "output_tokens")


def log_of(data: Path, left_out: Sequence[str], folder: Path) -> Path:
    """A log with the answer of every model to every prompt.

    The prompts ask for JSON in their text; here the requests ask for it too.
    """
    import polars as pl

    prompts = pl.read_parquet(data / "mixed_traffic.parquet").select("prompt_id", "prompt")
    answers = pl.read_parquet(data / "answers_zeroeval.parquet")
    answers = answers.join(prompts.unique("prompt_id"), on="prompt_id")
    log = folder / "calls.jsonl"
    with log.open("w", encoding="utf-8") as lines:
        for number, row in enumerate(answers.iter_rows(named=True)):
            if any(part in row["model"] for part in left_out):
                continue
            record = {
                "call_id": str(number),
                "success": row["score"] >= 0.5,
                "task_type": row["dataset"],
                "response_format": {"type": "json_object"},
                **{name: row[name] for name in KEPT},
            }
            lines.write(json.dumps(record) + "\n")
    return log


def trained(log: Path, folder: Path, encoder: str, seed: int) -> Trained:
    """The router, with what was found."""
    training = {"encoder": encoder, "cascade": "auto", "seed": seed}
    reading = ReadOptions(
        mapping={},
        rejects=None,
        config=Config.model_validate({"training": training}),
        cache=Path(platformdirs.user_cache_dir("pointsman")),
    )
    job = TrainJob(
        sources=[str(log)],
        out=folder / "router",
        reading=reading,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        register=None,
    )
    return train_on_log(job, Silent())


def row_of(pool: str, trial: CascadeTrial) -> list[str]:
    """One row of the table."""
    gain, low, high = (f"{1000 * value:+.1f}" for value in (trial.gain, trial.low, trial.high))
    return [
        pool, trial.task_type, f"{trial.prompts:,}", f"{gain} [{low}, {high}]", "yes" if trial.pays else "no",
        f"{100 * trial.asked:.1f} %", f"{100 * trial.success:+.2f}", f"{1000 * trial.cost_usd:+.3f}",
    ]  # fmt: skip


HEAD = (
    "models", "task type", "prompts", "decision value x 1,000", "on", "asked twice", "success, points",
    "USD per 1,000",
)  # fmt: skip


def main() -> None:
    """Train on each pool, and print the table, the losses first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two Parquet files")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--pool", choices=POOLS, action="append", help="models to choose among; default: each"
    )
    given = parser.parse_args()
    began = time.process_time()
    found: list[tuple[str, CascadeTrial]] = []
    for pool in given.pool or POOLS:
        with TemporaryDirectory(prefix="pointsman-") as name:
            folder = Path(name)
            result = trained(log_of(given.data, POOLS[pool], folder), folder, given.encoder, given.seed)
        cascade = result.fitted.cascade
        found += [(pool, trial) for trial in (cascade.trials if cascade else ())]
    where = machine()
    place = "; ".join(f"{name} {where[name]}" for name in ("machine", "system", "python", "numpy"))
    print(
        f"Encoder {given.encoder}, seed {given.seed}; {datetime.now(UTC):%Y-%m-%d}; {place}; "
        f"{time.process_time() - began:.0f} s. The answers to tool calls of mixed_traffic are not in the "
        "data, so their gain is not measured here.\n"
    )
    rows = [row_of(*one) for one in sorted(found, key=lambda one: one[1].gain)]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows)))


if __name__ == "__main__":
    main()
