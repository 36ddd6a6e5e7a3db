"""How `pointsman` ends on full disks, in read-only places and by Ctrl-C: one line, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from router import cli
from router.loading.artifact import read_manifest
from router.models.litellm_import import litellm_module
from tests.training.logs import write_lines
from tests.training.test_pipeline import synthetic_calls
from training.learning import material

pytestmark = pytest.mark.slow
SETTINGS = "training:\n  estimator: success\n  min_calls: 20\n"
READ_ONLY = Path("/sys")
"""A folder in which even the superuser can make no file."""
COMMANDS = {
    "import": "import calls.jsonl --out {out}/calls.parquet --cache {cache}",
    "train": "train calls.jsonl --out {out}/router --cache {cache} --config small.yaml "
    "--tracking-uri {store}",
    "compare": "compare calls.jsonl --router {router} --out {out}/report --no-record --draws 100",
    "replay": "replay calls.jsonl --router {router} --out {out}/new.jsonl --cache {cache} --budget 1 --yes",
    "inspect": "inspect calls.jsonl --html {out}/page.html",
    "litellm-config": "litellm-config --router {router} --out {out}/proxy.yaml",
}
BAD_LINE = b"{not json"
Run = Callable[..., tuple[int, str]]


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file may grow over `most` bytes, as on a disk that is full; no limit if it is negative."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if most >= 0 else before[0], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def make_place(work: Path) -> None:
    (work / "scratch").mkdir(parents=True)
    write_lines(work / "calls.jsonl", *synthetic_calls(150), BAD_LINE)
    (work / "small.yaml").write_text(SETTINGS, encoding="utf-8")
    (work / "file").write_text("a file, no folder", encoding="utf-8")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, encoder_cache: Path) -> Mapping[str, object]:
    """Where the commands read and record; the router is trained here."""
    base = tmp_path_factory.mktemp("places")
    make_place(base / "work")
    litellm_module()  # an import that fails for the limits below would stay half done in this process
    known = {
        "cache": encoder_cache,
        "router": base / "work" / "router",
        "store": f"sqlite:///{base / 'mlflow.db'}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "GRAM_DIMENSIONS", 32)
        patch.chdir(base / "work")
        patch.setattr(sys, "argv", ["pointsman", *COMMANDS["train"].format(out=".", **known).split()])
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
    return known


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a log, settings and a folder of its own for scratch files."""
    make_place(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work" / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(material, "GRAM_DIMENSIONS", 32)
    return tmp_path / "work"


@pytest.fixture
def run(
    place: Path,
    places: Mapping[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command in this process; returns its exit code and what it wrote on standard error."""

    def command(name: str, most: int = -1, **other: object) -> tuple[int, str]:
        words = COMMANDS[name].format(**{"out": place, **places, **other}).split()
        monkeypatch.setattr(sys, "argv", ["pointsman", *words])
        with full_disk(most), pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return command


def assert_clean_end(place: Path, error: str) -> None:
    """The last line says what was wrong, and what the command left in its places is whole."""
    assert error.strip().splitlines()[-1].startswith("error: "), error
    assert "Traceback" not in error
    for path in place.iterdir():
        if path.name not in ("calls.jsonl", "small.yaml", "file", "scratch", "mlruns"):
            assert_whole(path)
    assert {path.name for path in (place / "scratch").iterdir()} <= {".ses"}  # onnxruntime's own


def assert_whole(path: Path) -> None:
    match path.suffix or path.name:
        case ".jsonl":
            assert all(json.loads(line) for line in path.read_text("utf-8").splitlines())
        case ".json":
            assert json.loads(path.read_text("utf-8"))
        case ".html":
            assert path.read_text("utf-8").rstrip().endswith("</html>")
        case ".parquet":
            assert pq.read_table(path).num_rows
        case "router":
            assert read_manifest(path)
        case "report":
            for inner in path.iterdir():
                assert_whole(inner)
        case _:
            pytest.fail(f"the command left {path}")


@pytest.mark.parametrize("most", [0, 2_000, 30_000])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_ends_a_command_with_one_line_and_leaves_nothing(
    command: str, most: int, run: Run, place: Path
) -> None:
    code, error = run(command, most)
    if code == 1 or most == 0:
        assert code == 1
        assert_clean_end(place, error)


@pytest.mark.parametrize("out", ["file", str(READ_ONLY), str(READ_ONLY / "a" / "b")])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_that_cannot_be_written_ends_a_command_with_one_line(
    command: str, out: str, run: Run, place: Path
) -> None:
    code, error = run(command, out=out)
    assert code == 1
    assert out in error
    assert_clean_end(place, error)


@pytest.mark.parametrize("cache", ["file", str(READ_ONLY / "cache")])
@pytest.mark.parametrize("command", ["train"])
def test_a_cache_that_cannot_be_written_is_named(command: str, cache: str, run: Run, place: Path) -> None:
    code, error = run(command, cache=cache)
    assert code == 1
    assert cache in error
    assert_clean_end(place, error)


@pytest.mark.parametrize("seconds", [2.0, 5.0, 9.0])
@pytest.mark.parametrize("command", ["import", "train", "compare", "replay"])
def test_ctrl_c_ends_a_command_with_one_line_and_leaves_nothing(
    command: str, seconds: float, place: Path, places: Mapping[str, object]
) -> None:
    words = COMMANDS[command].format(out=place, **places).split()
    command_line = [sys.executable, "-m", "router.cli", *words]
    path = os.pathsep.join(filter(None, (str(Path(cli.__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    run = subprocess.Popen(
        command_line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    time.sleep(seconds)
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=120)
    if run.returncode in (130, 1):  # else it was quicker
        assert run.returncode == 130, error
        assert_clean_end(place, error)
