from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pointsman
import router
from router import errors


def test_the_public_names_of_serving_are_here_too() -> None:
    assert pointsman.__version__ == router.__version__
    for name in router.__all__:
        assert getattr(pointsman, name) is getattr(router, name)


def test_every_error_is_public() -> None:
    made = {
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and one.__module__ == errors.__name__
    }
    assert made <= set(pointsman.__all__)


def test_the_package_runs_as_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pointsman", "--version"], capture_output=True, text=True, check=True
    )
    assert pointsman.__version__ in ran.stdout


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'pointsman' has no attribute 'Ruoter'"):
        pointsman.Ruoter  # noqa: B018


@pytest.mark.parametrize("entry", ["main", "router"])
def test_an_applications_own_router_module_is_named_as_the_reason(tmp_path: Path, entry: str) -> None:
    (tmp_path / "router.py").write_text(
        "from pointsman import Router\n" if entry == "router" else "routes = []\n"
    )
    (tmp_path / "main.py").write_text(
        "from pointsman import Router\n" if entry == "main" else "import router\n"
    )
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ImportError" in last
    assert "hides pointsman's package 'router'" in last
    assert str(tmp_path / "router.py") in last


def test_type_checkers_find_the_annotations() -> None:
    for package in ("pointsman", "router", "training"):
        assert (Path(str(router.__file__)).parent.parent / package / "py.typed").is_file()
