"""Logs in real object stores on loopback, one of them written by LiteLLM itself."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.services.object_stores import ObjectStore, gcs_store, s3_store
from tests.training.logs import call

PRODUCER = """
import asyncio, sys
import litellm
from litellm.integrations.s3_v2 import S3Logger

async def main():
    endpoint, path, batched = sys.argv[1:]
    logger = S3Logger(
        s3_bucket_name="logs", s3_endpoint_url=endpoint, s3_region_name="eu-west-1", s3_path=path,
        s3_aws_access_key_id="tests", s3_aws_secret_access_key="no-secret",
        s3_batch_file_upload=batched == "batch",
    )
    litellm.callbacks = [logger]
    for number in range(6):
        await litellm.acompletion(
            model="gpt-4o-mini", api_key="none", mock_response=f"answer {number}",
            messages=[{"role": "user", "content": f"question {number}"}],
        )
    while len(logger.log_queue) < 6:
        await asyncio.sleep(0.1)
    await logger.flush_queue()

asyncio.run(main())
"""
"""LiteLLM's own logger, with mocked answers: one object a call, or one file a flush."""
IMPORTS = """
import json, sys
from router.cli import main

for source, out in json.loads(sys.argv[1]):
    sys.argv = ["pointsman", "import", source, "--out", out, "--json"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
"""Several imports in a process: most of its time goes by before the first."""
PLACES = {"day=1/a.jsonl": ["one", "two"], "": ["one", "three", "two"], "day=*/*": ["one", "three", "two"]}
"""An object, a prefix and a glob, and the prompts there."""


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    with s3_store() as store:
        yield store


@pytest.fixture(scope="module")
def gcs() -> Iterator[ObjectStore]:
    with gcs_store() as store:
        yield store


@pytest.fixture(scope="module", params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    found: ObjectStore = request.getfixturevalue(request.param)
    return found


def imported(store: ObjectStore, outs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What `pointsman import` says of each source, in a process that finds the store by the environment."""
    words = json.dumps([(source, str(out)) for source, out in outs.items()])
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, words],
        capture_output=True, text=True, check=False, env=os.environ | dict(store.environment),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [dict(json.loads(line)) for line in done.stdout.splitlines()]


def lines(*prompts: str) -> bytes:
    return "".join(json.dumps(call(prompt=prompt)) + "\n" for prompt in prompts).encode()


def test_an_object_a_prefix_and_a_glob_are_read(store: ObjectStore, tmp_path: Path) -> None:
    store.put("own/day=1/a.jsonl", lines("one", "two"))
    store.put("own/day=2/b.jsonl.gz", gzip.compress(lines("three")))
    outs = {f"{store.bucket}/own/{place}": tmp_path / f"{n}.parquet" for n, place in enumerate(PLACES)}
    found = imported(store, outs)
    prompts = [pl.read_parquet(out)["prompt"].sort().to_list() for out in outs.values()]
    assert prompts == list(PLACES.values())
    assert [one["calls"] for one in found] == [2, 3, 3]


def test_a_store_that_refuses_is_named_without_its_keys(store: ObjectStore, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "router.cli", "import", f"{store.bucket}/nothing/x.jsonl"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "calls.parquet")],
        capture_output=True, text=True, check=False, env=os.environ | dict(store.environment),
    )  # fmt: skip
    assert done.returncode != 0
    assert f"{store.bucket}/nothing/x.jsonl: no such object" in " ".join(done.stderr.split())
    assert "no-secret" not in done.stderr


@pytest.mark.parametrize("layout", ["objects", "batch"])
def test_what_litellm_writes_to_s3_is_read_call_by_call(s3: ObjectStore, tmp_path: Path, layout: str) -> None:
    script = tmp_path / "producer.py"
    script.write_text(PRODUCER)
    subprocess.run(
        [sys.executable, str(script), s3.endpoint, layout, layout],
        check=True, capture_output=True, timeout=120,
        env=os.environ | dict(s3.environment) | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    (found,) = imported(s3, {f"{s3.bucket}/{layout}": tmp_path / "calls.parquet"})
    calls = pl.read_parquet(tmp_path / "calls.parquet")
    asked = sorted(json.loads(messages)[0]["content"] for messages in calls["messages"])
    assert asked == [f"question {number}" for number in range(6)]
    assert set(calls["model"]) == {"openai/gpt-4o-mini"}
    assert set(found["readers"]) == {"litellm-callback"}
