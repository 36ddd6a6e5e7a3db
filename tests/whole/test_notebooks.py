"""The notebooks: each one runs, imports without defining, and is stored with what it shows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = ("1_train_from_logs", "2_load_in_an_app", "3_compare_with_the_heuristic")
MOST_CODE_CELLS = 12
TIMEOUT_SECONDS = 600
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.])/(?:home|opt|private|root|srv|tmp|usr|Users|var|work|workspace)/|[A-Z]:\\"
)

Notebook = Any

each_notebook = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> Notebook:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def code_cells(notebook: Notebook) -> list[Notebook]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Notebook) -> list[Mapping[str, Any]]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def without_magics(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith("%"))


def without_images(output: Mapping[str, Any]) -> str:
    """An output as text; what base64 spells is no path."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return json.dumps({**output, "data": data}, ensure_ascii=False)


def test_every_notebook_is_tested() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


@each_notebook
def test_runs_top_to_bottom_and_leaves_nothing_in_the_repository(
    name: str, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_CACHE", str(encoder_cache.absolute()))
    before = sorted(NOTEBOOKS.iterdir())
    NotebookClient(
        read(name),
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute()
    assert sorted(NOTEBOOKS.iterdir()) == before


@each_notebook
def test_has_a_dozen_code_cells_at_most(name: str) -> None:
    assert len(code_cells(read(name))) <= MOST_CODE_CELLS


@each_notebook
def test_defines_no_function_and_no_class(name: str) -> None:
    trees = [ast.parse(without_magics(cell.source)) for cell in code_cells(read(name))]
    assert not [node for tree in trees for node in ast.walk(tree) if isinstance(node, DEFINITIONS)]


@each_notebook
def test_is_stored_as_one_run_from_a_fresh_kernel(name: str) -> None:
    cells = code_cells(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@each_notebook
def test_is_stored_with_outputs_and_without_errors(name: str) -> None:
    kinds = {output["output_type"] for output in outputs(read(name))}
    assert kinds & {"execute_result", "display_data"}
    assert "error" not in kinds


@each_notebook
def test_stored_outputs_hold_no_warning(name: str) -> None:
    assert not [output for output in outputs(read(name)) if output.get("name") == "stderr"]


@each_notebook
def test_stored_outputs_hold_no_absolute_path(name: str) -> None:
    assert not [
        text for output in outputs(read(name)) if ABSOLUTE_PATH.search(text := without_images(output))
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("/home/me/pointsman/data", True, id="a checkout"),
        pytest.param("'/tmp/x'", True, id="in quotes"),
        pytest.param("router/encoder/table.safetensors", False, id="relative"),
        pytest.param("<td>a</td>", False, id="markup"),
        pytest.param("sqlite:///mlflow.db", False, id="relative database"),
        pytest.param("sqlite:////tmp/mlflow.db", True, id="absolute database"),
    ],
)
def test_absolute_paths_are_recognised(text: str, found: bool) -> None:
    assert bool(ABSOLUTE_PATH.search(text)) is found
