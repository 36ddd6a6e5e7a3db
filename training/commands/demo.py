"""The command that shows everything on the bundled sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from router.cli.console import AsJson, app, loaded_version, people, print_json
from router.cli.serving import answers
from router.errors import RouterError
from router.errors.masking import without_credentials
from training.commands.comparing import compare_command
from training.commands.offline import (
    CACHE,
    TRACKING,
    Cache,
    Tracking,
    import_command,
    tables_module,
    train_command,
)

REGISTERED = "pointsman-demo"


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the calls and the report.")] = Path("runs/demo"),
    folder: Annotated[Path, typer.Option("--router", help="Folder for the router.")] = Path("models/demo"),
    cache: Cache = CACHE,
    tracking_uri: Tracking = TRACKING,
    as_json: AsJson = False,
) -> None:
    """Import, train, compare and route the bundled synthetic sample, and record it in MLflow."""
    data = sample_folder()
    sample, settings, requests = (
        data / "sample_calls.parquet",
        data / "pointsman.yaml",
        data / "requests.jsonl",
    )
    calls, report = out / "calls.parquet", out / "report"
    _step(f"pointsman import {sample} --out {calls}")
    import_command([str(sample)], calls, as_json=as_json)
    champion = f"--register {REGISTERED} --alias champion"
    _step(f"pointsman train {calls} --out {folder} --config {settings} {champion}")
    train_command(
        [str(calls)],
        folder,
        settings,
        REGISTERED,
        alias="champion",
        cache=cache,
        tracking_uri=tracking_uri,
        as_json=as_json,
    )
    _step(f"pointsman compare {calls} --router {folder} --out {report} --show-text --synthetic")
    compare_command(
        [str(calls)],
        [str(folder)],
        report,
        show_text=True,
        synthetic=True,
        cache=cache,
        tracking_uri=tracking_uri,
        as_json=as_json,
    )
    _step(f"pointsman route --router {folder} < {requests}")
    loaded = loaded_version(str(folder), None)
    lines = requests.read_bytes().splitlines()
    decided = list(zip(map(json.loads, lines), answers(loaded, lines, len(lines)), strict=True))
    if as_json:
        print_json([decision for _, decision in decided])
    else:
        tables_module().decisions(decided)
    people.print(f"\nThe report: {report / 'report.html'}", highlight=False)
    people.print(
        f"The runs:   mlflow ui --backend-store-uri {without_credentials(tracking_uri)}", highlight=False
    )


def sample_folder() -> Path:
    """Return the folder of the sample: beside this package where a wheel has it, `data` in a clone.

    Raises:
        RouterError: it is in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "sample", package.parent / "data"):
        if (folder / "sample_calls.parquet").is_file():
            return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    raise RouterError(f"{package / 'sample'}: the sample is missing; install pointsman anew")


def _step(command: str) -> None:
    people.print(f"\n$ {command}", style="bold", highlight=False, soft_wrap=True)
