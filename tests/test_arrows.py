"""The import arrows: what may import what, and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE_SERVING = (
    "torch mlflow sklearn scipy polars daft litellm sentence_transformers pyarrow pandas joblib "
    "opentelemetry prometheus_client"
)
OUTSIDE_IMPORT = (
    f"{OUTSIDE_SERVING} numpy pydantic yaml onnxruntime tokenizers safetensors typer rich sqlalchemy psycopg"
)
PRIVATE_OF_OTHERS = {"_Hash", "_get_runner"}
"""Names that the standard library and Daft have no public counterpart of."""
COMMANDS = (ROOT / "router" / "cli", ROOT / "training" / "commands")

LAYERS = {
    "router": [
        [
            "router.errors",
            "router.addresses",
            "router.text",
            "router.numbers",
            "router.forking",
            "router.effort",
        ],
        ["router.records", "router.settings"],
        ["router.models", "router.loading", "router.call_log"],
        ["router.forecasting", "router.calling"],
        ["router.deciding"],
        ["router.version"],
        ["router.rules_version", "router.explaining", "router.linting"],
        ["router.serving"],
        ["router.proxying"],
        ["router.litellm_plugin", "router.cli"],
    ],
    "training": [
        [
            "training.progress",
            "training.whole_file",
            "training.readers",
            "training.statistics",
            "training.options",
        ],
        ["training.reading", "training.spending", "training.tracking", "training.pages"],
        ["training.prompts", "training.judging", "training.recommending"],
        [
            "training.learning",
            "training.replaying",
            "training.complexity_router",
            "training.inspecting",
            "training.dashboard",
            "training.differing",
            "training.traffic",
        ],
        ["training.pipeline", "training.comparing", "training.membership", "training.watching"],
        ["training.retraining"],
        ["training.api"],
        ["training.commands"],
    ],
}
"""Floors, low to high: a part imports only from floors below its own, never from its neighbours."""


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
def test_serving_never_imports_training(path: Path) -> None:
    assert not {name for name in imports(path, deep=True) if name.partition(".")[0] == "training"}


@pytest.mark.parametrize("path", sources("training/commands"), ids=module_name)
def test_the_commands_import_training_only_when_they_run(path: Path) -> None:
    light = {"training.commands", *(module_name(file) for file in sources("training/commands"))}
    tables = {"training.commands.tables", "training.commands.inspection_tables"}
    if module_name(path) not in tables:
        names = {name for name in imports(path, deep=False) if name.startswith("training")}
        assert names <= light - tables


@pytest.mark.parametrize("path", sources("router", "training"), ids=module_name)
def test_the_package_imports_neither_tests_nor_tools(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path, deep=True)}
    assert not tops & {"pointsman", "tests", "benchmarks", "data", "notebooks"}


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module_name(path): imports(path, deep=False) for path in sources("router", "training")}
    assert list(TopologicalSorter(graph).static_order())


def test_every_import_goes_down_the_list_of_layers() -> None:
    listed = [(part, at) for floors in LAYERS.values() for at, parts in enumerate(floors) for part in parts]
    floors = dict(listed)
    assert len(floors) == len(listed), "a part stands on one floor"
    parts = {f"{package}.{part_of(path)}" for package in LAYERS for path in sources(package)}
    assert parts - {"router.__init__", "training.__init__"} == floors.keys()
    back = [
        f"{module_name(path)} imports {name}"
        for package in LAYERS
        for path in sources(package)
        if part_of(path) != "__init__"
        for name in sorted(imports(path, deep=True))
        if name.startswith(f"{package}.") and not name.startswith(f"{package}.__")
        if (to := ".".join(name.split(".")[:2])) != (own := f"{package}.{part_of(path)}")
        if floors[to] >= floors[own]
    ]
    assert not back


@pytest.mark.parametrize("path", sources("router", "training"), ids=module_name)
def test_only_the_command_line_prints(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    printed = {"print", "sys.stdout", "sys.stderr"} & {
        ast.unparse(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)
    }
    consoles = {"rich", "typer", "click"} & {name.partition(".")[0] for name in imports(path, deep=True)}
    assert not printed | consoles or path.parent in COMMANDS


@pytest.mark.parametrize("path", sources("router", "training"), ids=module_name)
def test_a_private_name_stays_in_its_file(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    made = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    made |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    used: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            own = ast.unparse(node.value) in ("self", "cls")
            (made if own else used).add(node.attr)
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    assert private - made <= PRIVATE_OF_OTHERS


def test_importing_the_package_costs_nothing() -> None:
    assert loaded_by("import router, pointsman", OUTSIDE_IMPORT) == ""


def test_the_router_loads_without_the_packages_of_training() -> None:
    assert loaded_by("import router.serving.client", OUTSIDE_SERVING) == ""


def test_importing_the_client_loads_no_native_runtime() -> None:
    assert (
        loaded_by("import router.serving.client", "onnxruntime tokenizers safetensors sqlalchemy psycopg")
        == ""
    )


def test_the_commands_and_their_help_load_nothing_but_the_terminal() -> None:
    heavy = f"{OUTSIDE_IMPORT} router.records router.settings.sections".replace("typer rich ", "")
    assert loaded_by("import router.cli, training.commands", heavy) == ""


def test_routing_a_prompt_needs_none_of_the_packages_of_training(router_folder: Path) -> None:
    statement = f"from router import Router; Router.load({str(router_folder)!r}).route('hi')"
    assert loaded_by(statement, OUTSIDE_SERVING) == ""


def test_no_public_class_or_function_has_two_owners() -> None:
    owners: dict[str, list[str]] = {}
    for path in sources("router", "training"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                owners.setdefault(node.name, []).append(module_name(path))
    assert {name: homes for name, homes in owners.items() if len(homes) > 1} == {}
