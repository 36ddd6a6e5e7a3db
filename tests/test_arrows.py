"""The import arrows: what may import what, and what an import may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE_SERVING = "torch mlflow sklearn scipy polars daft litellm sentence_transformers pyarrow pandas joblib"
OUTSIDE_IMPORT = (
    f"{OUTSIDE_SERVING} numpy pydantic yaml onnxruntime tokenizers safetensors typer rich sqlalchemy psycopg"
)
COMMANDS = ROOT / "router" / "cli"
README = ROOT / "README.md"


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(path: Path) -> str:
    """The module or package of its own, under `router/` or `training/`, that a file belongs to."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def import_nodes(tree: ast.AST, *, deep: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements under a node; `deep` takes those inside functions and for types too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif deep or not (isinstance(node, ast.FunctionDef) or for_types_only(node)):
            yield from import_nodes(node, deep=deep)


def imports(path: Path, *, deep: bool) -> set[str]:
    """Modules that a file imports; of `from package import module` the module."""
    names: set[str] = set()
    for node in import_nodes(ast.parse(path.read_text(encoding="utf-8")), deep=deep):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            home = node.module or ""
            below = {f"{home}.{alias.name}" for alias in node.names}
            modules = {name for name in below if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
            names |= modules or {home}
    return names


def loaded_by(statement: str, forbidden: str) -> str:
    """Which of the forbidden packages a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sorted(set({forbidden.split()}) & set(sys.modules)))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("path", sources("router"), ids=module_name)
def test_serving_never_imports_training_but_for_the_commands(path: Path) -> None:
    offline = {name for name in imports(path, deep=True) if name.partition(".")[0] == "training"}
    assert not offline or path.parent == COMMANDS


@pytest.mark.parametrize("path", sources("router/cli"), ids=module_name)
def test_the_commands_import_training_only_when_they_run(path: Path) -> None:
    assert not {name for name in imports(path, deep=False) if name.startswith("training")}


@pytest.mark.parametrize("path", sources("router", "training"), ids=module_name)
def test_the_package_imports_neither_tests_nor_tools(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path, deep=True)}
    assert not tops & {"tests", "benchmarks", "data", "notebooks"}


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module_name(path): imports(path, deep=False) for path in sources("router", "training")}
    assert list(TopologicalSorter(graph).static_order())


def test_the_map_in_the_readme_names_every_part_of_serving_in_the_order_of_imports() -> None:
    table = README.read_text("utf-8").partition("`router/`: serving")[2].partition("\n\n")[0]
    names = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
    places = {name: place for place, name in enumerate(re.findall(r"`(\w+)/?`", names))}
    assert places.keys() == {part_of(path) for path in sources("router")} - {"__init__"}
    late = {
        (part_of(path), name)
        for path in sources("router")
        for name in imports(path, deep=False)
        if name.startswith("router.") and places.get(name.split(".")[1], 0) > places.get(part_of(path), 0)
    }
    assert not late


@pytest.mark.parametrize("path", sources("router", "training"), ids=module_name)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
    assert not printing or path.parent == COMMANDS


def test_importing_the_package_costs_nothing() -> None:
    assert loaded_by("import router", OUTSIDE_IMPORT) == ""


def test_the_router_loads_without_the_packages_of_training() -> None:
    assert loaded_by("import router.client", OUTSIDE_SERVING) == ""


def test_importing_the_client_loads_no_native_runtime() -> None:
    assert loaded_by("import router.client", "onnxruntime tokenizers safetensors sqlalchemy psycopg") == ""


def test_the_command_starts_without_the_packages_of_training() -> None:
    assert loaded_by("import router.cli", OUTSIDE_SERVING) == ""


def test_routing_a_prompt_needs_none_of_the_packages_of_training(router_folder: Path) -> None:
    statement = f"from router import Router; Router.load({str(router_folder)!r}).route('hi')"
    assert loaded_by(statement, OUTSIDE_SERVING) == ""
