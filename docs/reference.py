"""The reference pages, generated from the code: `python -m docs.reference` writes docs/reference anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import typer

import pointsman
from router import errors
from router.cli import _add_commands
from router.cli.console import app
from router.settings.sections import Config

FOLDER = Path(__file__).parent / "reference"
_HEAD = "<!-- Generated from the code by `make docs`: change the code, not this page. -->\n\n"


def pages() -> Mapping[str, str]:
    """The text of every generated page, by its file name."""
    made = {
        "commands.md": _commands(),
        "settings.md": _settings(),
        "python.md": _python(),
        "errors.md": _errors(),
    }
    return {name: _HEAD + text.rstrip() + "\n" for name, text in made.items()}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, in the order of use."""
    _add_commands()
    yield from _below(typer.main.get_command(app), "pointsman")


def _below(group: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Typer's classes differ by version
    context = typer.Context(group, info_name=name)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        if hasattr(command, "commands"):
            yield from _below(command, f"{name} {child}")
        else:
            yield f"{name} {child}", command


def _commands() -> str:
    text = (
        "# Commands\n\nEvery command also has `--help`. [Environment variables](environment.md) stand for "
        "some options; [exit codes](exit-codes.md) say how a command ended.\n"
    )
    for name, command in commands():
        example = (command.epilog or "").removeprefix("Example: ")
        rows = [
            (_flags(one), one.help or "", "required" if one.required else _default(one.default), one.envvar)
            for one in command.params
        ]
        text += f"\n## {name}\n\n{_prose(inspect.cleandoc(command.help or ''))}\n"
        text += f"\n```sh\n{example}\n```\n" if example else ""
        text += "\n| option | meaning | default |\n|---|---|---|\n" if rows else ""
        for flags, meaning, default, variable in rows:
            also = f" Environment: `{variable}`." if variable else ""
            text += f"| {flags} | {_cell(meaning)}{also} | {default} |\n"
    return text


def _flags(parameter: Any) -> str:  # noqa: ANN401 - see `_below`
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name).upper().rstrip(".")
        return f"`{name}{'...' if parameter.nargs == -1 else ''}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _default(value: object) -> str:
    """An option's default; a whole path is one of this machine, so it gets a name."""
    if value in (None, False, ()) or not isinstance(value, str | int | float | Path):
        return ""
    return "the user's cache folder" if Path(str(value)).is_absolute() else f"`{value}`"


def _settings() -> str:
    schema = Config.model_json_schema()
    text = (
        "# Settings, key by key\n\nThe keys of `pointsman.yaml`, which is checked against this schema "
        "(`pointsman config schema`). [Settings](../settings.md) shows a whole file.\n"
    )
    for path, kind, default, meaning in settings(schema, schema["$defs"]):
        also = "" if default is None else f", default `{default}`"
        text += f"\n## {path}\n\n{' '.join([f'{kind[0].upper()}{kind[1:]}{also}.', meaning]).rstrip()}\n"
    return text


def settings(
    section: Mapping[str, Any], sections: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, str, object, str]]:
    """Every key with its whole name, type, default and meaning; a section comes before its keys."""
    meanings = _meanings(section.get("description", ""))
    for key, value in section["properties"].items():
        path = f"{above}{key}"
        inner, mark = _section_in(value)
        default = _yaml(value["default"]) if "default" in value and not inner else None
        said = _sentence(meanings.get(key, ""))
        if inner is None:
            yield path, _kind(value), default, said
            continue
        within = sections[inner]
        said = said or _sentence(within.get("description", "").partition("\n\n")[0])
        yield (
            path,
            {"": "A section", ".NAME": "A section for each name", "[]": "A list of sections"}[mark],
            None,
            said,
        )
        yield from settings(within, sections, f"{path}{mark}.")


def _section_in(value: Mapping[str, Any]) -> tuple[str | None, str]:
    """The section that a value is, or holds by name or in a list, and which of the three."""
    for mark, inside in {
        "": value,
        ".NAME": value.get("additionalProperties"),
        "[]": value.get("items"),
    }.items():
        for one in (inside, *inside.get("anyOf", ())) if isinstance(inside, dict) else ():
            if "$ref" in one:
                return one["$ref"].rpartition("/")[2], mark
    return None, ""


_SECTIONS = {"": "A section", ".NAME": "A section for each name", "[]": "A list of sections"}
_LIMITS = {
    "minimum": "at least", "exclusiveMinimum": "more than",
    "maximum": "at most", "exclusiveMaximum": "less than",
}  # fmt: skip
_WORDS = {"integer": "whole number", "string": "text", "boolean": "true or false"}


def _kind(value: Mapping[str, Any]) -> str:
    """The type of a value in words."""
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"])
    if "enum" in value or "const" in value:
        return " or ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        held = _kind(inner) if isinstance(inner, dict) and inner else "anything"
        return f"{held} for each name"
    plain = value.get("type", "anything")
    limits = [f"{words} {value[name]}" for name, words in _LIMITS.items() if name in value]
    return f"{_WORDS.get(plain, plain)} {' and '.join(limits)}".rstrip()


def _yaml(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _meanings(docstring: str) -> dict[str, str]:
    """What the lines under `Attributes:` say of each name; a line may name several."""
    _, _, listed = docstring.partition("Attributes:\n")
    entries = re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", listed, re.M)
    return {
        name: " ".join(text.split()).replace("None:", "null:")
        for names, text in entries
        for name in names.split(", ")
    }


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text and f"{text[0].upper()}{text[1:].rstrip('.')}."


def public_names() -> list[str]:
    """The names of `pointsman` that are no errors, the serving half first."""
    offline = ["inspect", "import_calls", "train", "compare", "replay"]
    serving = ["Router", *(name for name in pointsman.__all__ if name not in ("Router", "__version__"))]
    results = [name for name in dir(pointsman) if getattr(pointsman, name, None) in _results(offline)]
    return [name for name in [*serving, *offline, *results] if not _is_error(getattr(pointsman, name))]


def _results(functions: list[str]) -> list[object]:
    names = {inspect.signature(getattr(pointsman, name)).return_annotation for name in functions}
    return [getattr(pointsman, name) for name in dir(pointsman) if name in names]


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _python() -> str:
    text = (
        "# Python\n\n`import pointsman`: `Router` and its values need the base install, the functions on "
        "logs and their results `pointsman[train]`. Errors have a [page of their own](errors.md).\n"
    )
    for name in public_names():
        text += _described(name, getattr(pointsman, name), "##")
    return text


def _described(name: str, value: Any, mark: str) -> str:  # noqa: ANN401 - a class, a function or a method
    signature, prose = _signature(name.rpartition(".")[2], value), _prose(inspect.getdoc(value) or "")
    text = f"\n{mark} {name}\n\n```text\n{signature}\n```\n\n{prose}\n"
    if not inspect.isclass(value):
        return text
    for method, held in vars(value).items():
        plain = held.__func__ if isinstance(held, classmethod | staticmethod) else held
        if inspect.isfunction(plain) and not method.startswith("_") and plain.__doc__:
            text += _described(f"{name}.{method}", plain, f"{mark}#")
    return text


def _signature(name: str, value: Any) -> str:  # noqa: ANN401 - see `_described`
    """How to call it, on a line for each parameter where one line is too short."""
    signature, kept, named = inspect.signature(value), [], False
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not named:
            kept.append("*")
        named = named or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        if one.name not in ("self", "cls"):
            kept.append(_parameter(one))
    given = signature.return_annotation
    result = f" -> {given}" if isinstance(given, str) and not inspect.isclass(value) else ""
    line = f"{name}({', '.join(kept)}){result}"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(kept) + f",\n){result}"


def _parameter(one: inspect.Parameter) -> str:
    stars = "*" * {"VAR_POSITIONAL": 1, "VAR_KEYWORD": 2}.get(one.kind.name, 0)
    typed = f": {one.annotation}" if isinstance(one.annotation, str) else ""
    if one.default is one.empty:
        return f"{stars}{one.name}{typed}"
    default = f"{type(one.default).__name__}()" if is_dataclass(one.default) else repr(one.default)
    return f"{one.name}{typed} = {default}"


def _prose(docstring: str) -> str:
    """A docstring as Markdown: its sections as lists."""
    text = re.sub(r"^(Args|Attributes|Returns|Raises|Yields):$", r"**\1**\n", docstring, flags=re.M)
    text = re.sub(r"\n {8}\s*(?=\S)", " ", text)
    return re.sub(r"^ {4}([\w, *.]+): ", r"- `\1`: ", text, flags=re.M).replace("\n    ", "\n")


def error_names() -> list[str]:
    """Every error that pointsman raises on purpose, in the order of their tree."""
    return [name for name, value in vars(errors).items() if _is_error(value)]


def _errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2]
    text = f"# Errors\n\n`except pointsman.RouterError` catches all of these.\n\n```text\n{tree}\n```\n"
    for name in error_names():
        text += f"\n## {name}\n\n{_prose(inspect.getdoc(getattr(errors, name)) or '')}\n"
    return text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def write() -> None:
    """Write every page that the code generates."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
