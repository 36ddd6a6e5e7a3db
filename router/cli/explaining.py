"""The command that explains why a prompt goes to a model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from router.cli.console import AsJson, RouterOrRules, SettingsFile, app, loaded_version, print_json
from router.errors import ConfigError

STANDARD_INPUT = "-"


@app.command("explain")
def explain_command(
    router: RouterOrRules,
    prompt: Annotated[str, typer.Argument(help="The user's text; default: standard input.")] = STANDARD_INPUT,
    config: SettingsFile = None,
    task_type: Annotated[str | None, typer.Option(help="The request's task type.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the request; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a prompt goes to a model: chances, costs, evidence, and what would change the decision."""
    from router.cli.explanation_tables import print_explanation
    from router.explaining.explain import explain
    from router.records import Request

    text = _read() if prompt == STANDARD_INPUT else prompt
    loaded = loaded_version(router, config, rules=True)
    explanation = explain(loaded, Request.of(text, task_type=task_type, tags=tag or ()))
    if as_json:
        print_json(explanation.to_json())
    else:
        print_explanation(explanation)


def _read() -> str:
    """The prompt on standard input, without its last line break."""
    if sys.stdin.isatty():
        raise ConfigError("no prompt: give it as an argument, or on standard input")
    return sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n")
