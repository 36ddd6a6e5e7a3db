"""The examples, each run as its docstring says: real parts on loopback, and only the paid model is mocked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest

from router.call_log.log import read_rows
from router.records import Json
from tests.services.ports import held_port
from tests.services.provider import KEY, Provider
from tests.services.proxy import running_proxy
from tests.services.waiting import wait_until
from training.pipeline import Trained

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
MOST_LINES = 60
ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
FEEDBACK_KEY = "feedback-key-0123456789"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A copy of the folder, to run them in."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def environment(provider: Provider | None = None) -> dict[str, str]:
    """What an example finds: the commands, and OpenAI's own variables, which lead to the test's provider."""
    base = {} if provider is None else dict.fromkeys(ADDRESSES, provider.api_base)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "OPENAI_API_KEY": KEY, **base}


def output_of(folder: Path, *command: str, variables: Mapping[str, str], exit_code: int = 0) -> str:
    """What a command prints, beside the code that it is to end with."""
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout + done.stderr


def append(settings: Path, text: str) -> None:
    settings.write_text(settings.read_text(encoding="utf-8") + text, encoding="utf-8")


def rows(folder: Path) -> list[dict[str, Json]]:
    return list(read_rows(folder / "calls.db"))


@contextmanager
def serving(folder: Path, *command: str, variables: Mapping[str, str], alive: str) -> Iterator[str]:
    """The address of a server, once it answers at a path."""
    with held_port() as port:
        address = f"http://127.0.0.1:{port}"
        process = subprocess.Popen([*command, "--port", str(port)], cwd=folder, env=variables)

        def answers() -> bool:
            assert process.poll() is None
            try:
                return httpx.get(f"{address}{alive}", timeout=5).is_success
            except httpx.TransportError:
                return False

        try:
            wait_until(answers)
            yield address
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_an_example_is_short_and_linked_from_the_documents(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "training" / "readers" / "README.md"]
    assert any(f"examples/{path.name}" in page.read_text(encoding="utf-8") for page in pages)


def test_the_sdk(here: Path, provider: Provider) -> None:
    text = output_of(here, sys.executable, "sdk.py", variables=environment(provider))
    assert "gpt-5-mini answer from gpt-5-mini" in text
    assert "answer from gpt-5 (gpt-5: " in text
    assert Counter((row["model"], row["success"], row["score"]) for row in rows(here)) == {
        ("gpt-5", None, None): 1,
        ("gpt-5-mini", None, 0.75): 2,
        ("gpt-5-mini", True, None): 1,
    }


def test_fastapi(here: Path, provider: Provider) -> None:
    command = (sys.executable, "-m", "uvicorn", "fastapi_app:app")
    with serving(here, *command, variables=environment(provider), alive="/openapi.json") as address:
        answer = httpx.post(f"{address}/chat", json={"text": "Hello", "session_id": "s"}, timeout=120)
        assert answer.json()["text"] == "answer from gpt-5-mini"
        opinion = {"call_id": answer.json()["call_id"], "success": False}
        assert httpx.post(f"{address}/feedback", json=opinion, timeout=120).status_code == 204
    (row,) = rows(here)
    assert (row["session_id"], row["success"], row["outcome_source"]) == ("s", False, "thumbs")


def test_a_litellm_router(here: Path, provider: Provider) -> None:
    text = output_of(here, sys.executable, "litellm_router.py", variables=environment(provider))
    assert "smart: answer from gpt-5-mini\ngpt-5: answer from gpt-5" in text
    assert [row["model"] for row in rows(here)] == ["gpt-5-mini", "gpt-5"]


def test_the_proxy_and_feedback_over_http(here: Path, provider: Provider) -> None:
    command = "--router pointsman.yaml --config pointsman.yaml --out proxy.yaml".split()
    output_of(here, "pointsman", "litellm-config", *command, variables=environment(provider))
    addresses = dict.fromkeys(ADDRESSES, provider.api_base)
    keys = {"OPENAI_API_KEY": KEY, "POINTSMAN_FEEDBACK_KEY": FEEDBACK_KEY}
    with running_proxy(here / "proxy.yaml", here, {**addresses, **keys}) as proxy:
        root = proxy.address.removesuffix("/v1")
        variables = {**environment(), **keys, "PROXY": root, "LITELLM_MASTER_KEY": proxy.key}
        text = output_of(here, sys.executable, "proxy_client.py", variables=variables)
        assert "answer from gpt-5-mini" in text
        assert "{'stored': True}" in text
        for key in (proxy.key, KEY):
            headers = {"Authorization": f"Bearer {key}"}
            refused = httpx.post(f"{root}/pointsman/feedback", json={}, headers=headers, timeout=60)
            assert refused.status_code == 401
        as_key = {"Authorization": f"Bearer {FEEDBACK_KEY}"}
        assert httpx.get(f"{root}/v1/models", headers=as_key, timeout=60).status_code in (400, 401)
        assert FEEDBACK_KEY not in proxy.output.read_text(encoding="utf-8")
    (row,) = rows(here)
    assert (row["task_type"], row["success"], row["outcome_source"]) == ("support", True, "thumbs")


def test_a_batch_with_polars(here: Path) -> None:
    prompts = pl.DataFrame({"prompt": ["Hello", "Fix it"], "task_type": ["support", "coding"]})
    prompts.write_parquet(here / "prompts.parquet")
    command = (sys.executable, "batch_polars.py", "prompts.parquet", "routed.parquet")
    text = output_of(here, *command, variables=environment())
    assert "gpt-5-mini" in text
    routed = pl.read_parquet(here / "routed.parquet")
    assert routed["model"].to_list() == ["gpt-5-mini", "gpt-5"]
    assert routed["expected_cost_usd"].is_not_null().all()


@pytest.mark.parametrize("worse", [pytest.param(False, id="holds"), pytest.param(True, id="fails")])
def test_the_gate(here: Path, trained: Trained, sample_log: Path, worse: bool) -> None:
    (here / "pointsman.yaml").unlink()  # it names other models than the router of the sample
    if worse:
        text = (here / "ci_gate.sh").read_text(encoding="utf-8")
        (here / "ci_gate.sh").write_text(text.replace("usd_per_1000.ci_low > 0", "usd_per_1000.ci_low < 0"))
    command = ("sh", "ci_gate.sh", str(sample_log), str(trained.out), "report")
    text = output_of(here, *command, variables=environment(), exit_code=4 if worse else 0)
    assert (here / "report" / "report.html").is_file()
    assert ("change.usd_per_1000.ci_low" in text) is worse


def test_a_reader_of_a_package_of_ones_own(here: Path) -> None:
    package = here / "desk-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: desk\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[pointsman.readers]\nsupport_desk = custom_reader:READER\n")
    lines: list[dict[str, Json]] = [
        {"question": "Hello", "engine": "gpt-5", "answer": "Hi", "thumb": "up", "cents": 0.5},
        {"question": "Bye", "engine": "gpt-5-mini", "answer": "Hi", "thumb": "down", "cents": None},
        {"question": "Help", "engine": "human", "answer": "Yes", "thumb": None, "cents": None},
        {"question": "Dear", "engine": "gpt-5", "answer": "Yes", "thumb": None, "cents": "much"},
    ]
    (here / "desk.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    append(here / "pointsman.yaml", "training: {max_reject_share: 0.5}\n")
    variables = {**environment(), "PYTHONPATH": f"{ROOT}{os.pathsep}{here}"}
    done = output_of(
        here, "pointsman", "import", "desk.jsonl", "--out", "calls.parquet", "--json", variables=variables
    )
    calls = pl.read_parquet(here / "calls.parquet")
    assert calls.select("prompt", "model", "success", "cost_usd").rows() == [
        ("Hello", "gpt-5", True, 0.005), ("Bye", "gpt-5-mini", False, None),
    ]  # fmt: skip
    assert "answered by a person" in done
    assert "cents are no number" in done


def test_an_outcome_rule_of_ones_own(here: Path) -> None:
    settings = here / "pointsman.yaml"
    rules = 'outcomes: {rules: [feedback: {}, function: {call: "custom_outcome:links_a_help_page"}]}\n'
    append(settings, rules)
    called = {"prompt": "Where?", "model": "gpt-5", "task_type": "support"}
    answers = ["See https://help.example.com/bus", "No idea", None]
    lines = [{**called, "prompt": f"Where? {n}", "answer": answer} for n, answer in enumerate(answers)]
    (here / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    variables = {**environment(), "PYTHONPATH": f"{ROOT}{os.pathsep}{here}"}
    command = ("pointsman", "import", "log.jsonl", "--out", "calls.parquet", "--config", "pointsman.yaml")
    output_of(here, *command, variables=variables)
    calls = pl.read_parquet(here / "calls.parquet").sort("prompt")
    assert calls["success"].to_list() == [True, False, None]
    assert calls["outcome_source"].to_list() == ["function", "function", None]
