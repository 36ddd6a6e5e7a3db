"""What people install: the wheel and the source archive, in environments that have nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HIGHEST = "3.13"
SERVE = """
import sys
from pointsman import Router
with Router.load("pointsman.yaml") as router:
    print(router.route("Hello", task_type="coding").model)
heavy = {"torch", "mlflow", "sklearn", "litellm", "training"} & sys.modules.keys()
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, which is made from the source archive, and that archive."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_both_hold_what_the_program_reads_and_nothing_of_ours(built: Path, wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.split("/")[0] for name in names}
    assert {"pointsman", "router", "training"} == {name for name in inside if "dist-info" not in name}
    assert {"pointsman/py.typed", "training/sample/sample_calls.parquet"} <= set(names)
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        folders = {name.split("/")[1] for name in archive.getnames()}
    assert not {"tests", "benchmarks", "runs", "models"} & folders


def _pythons() -> list[str]:
    """This Python, the lowest that is tested, and the highest where there is one."""
    places = [shutil.which(f"python{HIGHEST}"), *Path.home().glob(f".pyenv/versions/{HIGHEST}*/bin/python")]
    return [sys.executable, *[str(place) for place in places if place and _runs(place)][:1]]


def _runs(python: str | Path) -> bool:
    """Whether a program is a Python, and not only the door to one that is not installed."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("python", _pythons(), ids=["lowest", "highest"][: len(_pythons())])
def test_an_empty_environment_serves_after_one_install(python: str, wheel: Path, tmp_path: Path) -> None:
    _run(python, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    own = tmp_path / "env" / "bin"
    _run(own / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    shutil.copy(ROOT / "containers" / "pointsman.yaml", tmp_path)
    text = (tmp_path / "pointsman.yaml").read_text(encoding="utf-8").partition("log:")[0]
    (tmp_path / "pointsman.yaml").write_text(text, encoding="utf-8")
    assert _run(own / "python", "-c", SERVE, cwd=tmp_path) == "gpt-5\n"
    version = wheel.name.split("-")[1]
    assert version in _run(own / "pointsman", "--version", cwd=tmp_path)
    assert "pip install 'pointsman[train]'" in _run(own / "pointsman", "demo", cwd=tmp_path, fails=True)


def test_the_demo_runs_from_the_wheel_without_a_clone(
    wheel: Path, encoder_cache: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    arguments = ("demo", "--cache", encoder_cache, "--tracking-uri", "sqlite:///mlflow.db")
    shown = _run(
        sys.executable, "-P", "-m", "router.cli", *arguments, cwd=tmp_path, path=tmp_path / "installed"
    )
    assert "Traceback" not in shown
    assert (tmp_path / "runs" / "demo" / "report" / "report.html").is_file()
    assert (tmp_path / "models" / "demo" / "manifest.json").is_file()


def _run(*command: str | Path, cwd: Path, path: Path | None = None, fails: bool = False) -> str:
    """Run a command that must succeed (or fail), in a clean environment; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HOME", "PATH"))}
    environment = {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else done.stdout
