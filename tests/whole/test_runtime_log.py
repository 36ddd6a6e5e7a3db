"""The round trip: what the runtime logs is what the next router learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from router.call_log.log import CallLog, CallRecord
from router.records import Json, Request
from router.settings.sections import Config, Training
from router.version import Version
from tests.services.postgres import Postgres
from tests.services.runtime_log import fill
from tests.training.logs import read
from training import pipeline
from training.learning import material
from training.pipeline import TrainJob
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions
from training.prompts.table import PromptTable, prompt_table

CONFIG = Config(training=Training(estimator="success", min_calls=20))
CALLS = 1200
BY_FEEDBACK = 2
"""Of so many calls one has its outcome from later feedback, the others bring it along."""


@pytest.fixture(scope="module")
def sample(sample_log: Path) -> list[dict[str, Json]]:
    return list(pq.read_table(sample_log).to_pylist()[:CALLS])


def record_of(call: dict[str, Json], *, outcome: bool) -> CallRecord:
    """A call of the sample as the runtime logs it."""
    prompt, messages = call.pop("prompt"), call.pop("messages")
    texts = {name: call[name] and json.loads(call[name]) for name in ("tools", "response_format")}
    unknown = {} if outcome else dict.fromkeys(("success", "score", "outcome_source"))
    whole = call | texts | unknown | {"time": call["time"].timestamp(), "request_id": call["call_id"]}
    return CallRecord(
        messages=json.loads(messages) if messages else [{"role": "user", "content": prompt}], **whole
    )


def replay(sample: list[dict[str, Json]], url: str | Path) -> str:
    """Log the sample's calls as they are made, and tell later how every second one turned out."""
    log = CallLog.open(url)
    for number, call in enumerate(sample):
        log.write(record_of(dict(call), outcome=number % BY_FEEDBACK == 0))
    assert log.flush(120)
    known = [
        call for call in sample[1::BY_FEEDBACK] if call["success"] is not None or call["score"] is not None
    ]
    for call in known:
        log.feedback(call["call_id"], success=call["success"], score=call["score"], source="feedback")
    fill(log, [])
    return str(url)


@pytest.fixture(scope="module")
def database(sample: list[dict[str, Json]], tmp_path_factory: pytest.TempPathFactory) -> str:
    return replay(sample, tmp_path_factory.mktemp("log") / "calls.db")


def table_of(folder: Path, *sources: str) -> PromptTable:
    return prompt_table(read(folder, *sources), success_score=0.5, max_prompts=10_000)


def assert_same(found: PromptTable, expected: PromptTable) -> None:
    """The tables agree in keys, requests, counts, outcomes, costs and groups."""
    for field in fields(PromptTable):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray):
            np.testing.assert_allclose(ours, theirs, err_msg=field.name)
        else:
            assert ours == theirs, field.name


@pytest.fixture(scope="module")
def expected(sample_log: Path, tmp_path_factory: pytest.TempPathFactory) -> PromptTable:
    folder = tmp_path_factory.mktemp("parquet")
    pq.write_table(pq.read_table(sample_log)[:CALLS], folder / "calls.parquet")
    return table_of(folder, str(folder / "calls.parquet"))


def test_a_database_teaches_what_the_same_calls_in_parquet_teach(
    database: str, expected: PromptTable, tmp_path: Path
) -> None:
    assert_same(table_of(tmp_path, database), expected)


def test_json_lines_with_their_feedback_teach_the_same(
    sample: list[dict[str, Json]], expected: PromptTable, tmp_path: Path
) -> None:
    assert_same(table_of(tmp_path, replay(sample, tmp_path / "calls.jsonl")), expected)


def test_a_server_teaches_the_same(
    sample: list[dict[str, Json]], expected: PromptTable, tmp_path: Path, postgres: Postgres
) -> None:
    assert_same(table_of(tmp_path, replay(sample, postgres.new_database("round_trip"))), expected)


def test_an_imported_database_teaches_the_same(
    database: str, expected: PromptTable, tmp_path: Path, quiet: Reporter
) -> None:
    reading = ReadOptions(mapping={}, rejects=tmp_path / "rejects.jsonl", config=CONFIG, cache=tmp_path)
    summary = pipeline.import_log([database], tmp_path / "calls.parquet", reading, quiet)
    assert (summary.rows, summary.rejected, summary.ignored_columns) == (expected.calls.sum(), 0, [])
    assert_same(table_of(tmp_path, str(tmp_path / "calls.parquet")), expected)


def test_attempts_that_failed_teach_nothing_and_change_no_price(
    database: str, expected: PromptTable, sample: list[dict[str, Json]], tmp_path: Path
) -> None:
    answers = [call for call in sample if call["cost_usd"]][::3]
    attempts = [
        replace(
            record_of(dict(call), outcome=False),
            call_id=f"{call['call_id']}-1",
            error="rate_limit: RateLimitError",
            cost_usd=cost,
            input_tokens=None,
            output_tokens=None,
            propensity=None,
        )
        for call, cost in zip(answers, [None, 0.0] * len(answers), strict=False)
    ]
    other = CallLog.open(tmp_path / "attempts.db")
    fill(other, attempts)
    found = table_of(tmp_path, database, str(tmp_path / "attempts.db"))
    assert found.calls.sum() == expected.calls.sum() + len(attempts)
    assert_same(replace(found, calls=expected.calls, truncated_calls=expected.truncated_calls), expected)


@pytest.fixture(scope="module")
def few_columns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fewer columns of words: training is six times as fast; and a folder where MLflow leaves its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        patch.chdir(tmp_path_factory.mktemp("mlflow"))
        yield


@pytest.mark.usefixtures("few_columns")
def test_a_router_is_trained_from_the_runtimes_own_log(
    database: str, tmp_path: Path, encoder_cache: Path, quiet: Reporter
) -> None:
    reading = ReadOptions(mapping={}, rejects=tmp_path / "rejects.jsonl", config=CONFIG, cache=encoder_cache)
    job = TrainJob(
        sources=[database],
        out=tmp_path / "router",
        reading=reading,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        register=None,
    )
    trained = pipeline.train_on_log(job, quiet)
    version = Version.load(trained.out)
    assert version.decide(Request.of("What is 2 + 2?")).model in version.models
    assert trained.to_json()["reading"]["files"] == [database]
