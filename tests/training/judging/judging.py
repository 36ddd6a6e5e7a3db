"""Imports whose judge is the tests' provider; as a process: `python -m tests.training.judging.judging`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from router.records import Json
from router.settings.sections import Config
from tests.training.logs import call, write_lines
from training.judging.run import JudgeTerms, record_beside
from training.pipeline import import_log
from training.progress import Silent
from training.prompts.from_logs import ReadOptions
from training.reading.summary import ReadSummary

KEY_VARIABLE = "POINTSMAN_TEST_PROVIDER_KEY"
INPUT_USD, OUTPUT_USD = 1.0, 10.0
"""Of a million tokens."""
LONGEST = 50


def config_of(api_base: str, **changes: Json) -> Config:
    """Settings by which the judge is the provider's, and judges what the log says nothing of.

    Args:
        changes: of the judge's rule; `after`: rules behind it; `settings`: whole sections.
    """
    after, settings = changes.pop("after", ()), changes.pop("settings", {})
    price = {"input_usd_per_million": INPUT_USD, "output_usd_per_million": OUTPUT_USD}
    own = {"api_base": api_base, "api_key_env": KEY_VARIABLE, "price": price, "litellm_model": "openai/judge"}
    rule = {"model": "referee", "budget_usd": 1.0, "max_tokens": LONGEST, **changes}
    return Config.model_validate(
        {
            "models": {"referee": own},
            "calls": {"backoff_s": 0.01},
            "outcomes": {"rules": [{"feedback": {}}, {"judge": rule}, *after]},
            **settings,
        }
    )


def answered(number: int, **fields: Json) -> dict[str, Json]:
    """A logged call without an outcome; prompts and answers are told apart by their number."""
    asked, said = f"What is {number} plus one?", f"It is {number + 1}."
    return call(**{"call_id": f"c{number}", "prompt": asked, "answer": said, **fields})


def log_of(folder: Path, *rows: dict[str, Json]) -> str:
    """A call log of these rows."""
    return write_lines(folder / "log.jsonl", *rows)


def imported(log: str, config: Config, **terms: Json) -> ReadSummary:
    """Import a log into `calls.parquet` beside it, with the judge's consent taken for granted."""
    out = Path(log).with_name("calls.parquet")
    reading = ReadOptions(mapping={}, rejects=None, config=config, cache=out.parent / "cache")
    whole: Mapping[str, Json] = {"record": record_beside(out), "agree": lambda offer: None, **terms}
    return import_log([log], out, reading, Silent(), JudgeTerms(**whole))


def main(api_base: str, log: str, budget: str, concurrency: str, repeats: str) -> None:
    """Import, for a test that kills this process."""
    numbers = {"budget_usd": float(budget), "concurrency": int(concurrency), "repeats": int(repeats)}
    imported(log, config_of(api_base, **numbers))


if __name__ == "__main__":
    os.environ.setdefault(KEY_VARIABLE, "sk-dummy-0123456789")
    main(*sys.argv[1:])
