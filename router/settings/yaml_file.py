"""Read `pointsman.yaml`, and report a wrong setting by name and line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_origin

import yaml
from pydantic import ValidationError

from router.errors import ConfigError
from router.errors.masking import shown_value
from router.settings.section import Settings
from router.settings.sections import Config, ModelSettings, Training

LARGEST = 1_000_000
"""Characters of a settings file, and values in it if each alias is written out."""


def load_config(path: Path | None) -> Config:
    """Read the settings in a YAML file; all defaults without a path.

    Raises:
        ConfigError: the file can't be read or is not YAML, or a key is unknown, set twice or has a wrong
        value;
            names the line.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: can't be read: no such file; `pointsman init MODEL...` writes one"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    return parse_config(text, name=str(path))


def parse_config(text: str, *, name: str = "pointsman.yaml") -> Config:
    """Read the settings in a YAML text; `name` stands for it in errors.

    Raises:
        ConfigError: as `load_config`.
    """
    if len(text) > LARGEST:
        raise ConfigError(f"{name}: {len(text):,} characters: a settings file has at most {LARGEST:,}")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if (count := _written_out(tree, {})) > LARGEST:
            raise ConfigError(
                f"{name}: its aliases stand for {count:,} values, more than {LARGEST:,}: write fewer"
            )
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    if value is None:
        return Config()
    _refuse_repeated_keys(tree, name)
    return _checked(value, tree, name)


def config_of(settings: Config | Mapping[str, object] | str | Path | None) -> Config | None:
    """Settings as a caller may give them: checked ones, a mapping of the same keys, or the path of a file.

    Raises:
        ConfigError: as `load_config`.
    """
    if isinstance(settings, Config | None):
        return settings
    return (
        _checked(dict(settings), None, "config")
        if isinstance(settings, Mapping)
        else load_config(Path(settings))
    )


def _checked(value: object, tree: yaml.Node | None, name: str) -> Config:
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(problem, tree, name) for problem in error.errors())) from error


def routing_part(config: Config) -> tuple[Config, tuple[str, ...]]:
    """The settings that a router's folder may contain, and the names of those removed.

    A folder may come from somebody else. It may decide which model to choose, but not where prompts and keys
    go, which code runs on them, where they are logged, which machines read logs, or which models count as
    local.
    """
    kept = {
        "models",
        "aliases",
        "rules",
        "objective",
        "fallback",
        "training",
        "prices",
        "baseline",
        "cascade",
    }
    if not any(rule.function for rule in config.outcomes.rules):
        kept.add("outcomes")
    models = {
        name: ModelSettings(price=model.price, capabilities=model.capabilities)
        for name, model in config.models.items()
    }
    own = config.training.model_fields_set - {"runner", "ray_address", "scratch"}
    training = Training(**{name: getattr(config.training, name) for name in own})
    same = {name: getattr(config, name) for name in kept - {"models", "training"}}
    part = Config(**same, models=models, training=training)
    dropped = sorted(config.model_fields_set - kept)
    dropped += [f"training.{name}" for name in sorted(config.training.model_fields_set - own)]
    dropped += [
        f"models.{name}.{field}"
        for name, model in config.models.items()
        for field in sorted(model.model_fields_set - {"price", "capabilities"})
    ]
    return part, tuple(dropped)


def settings_text(config: Config) -> str:
    """The settings as YAML, without defaults; `parse_config` reads it."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False)


def _written_out(node: yaml.Node | None, sizes: dict[int, int]) -> int:
    """Values in a node if each alias is written out; a node inside itself counts once."""
    if id(node) not in sizes:
        sizes[id(node)] = 0
        inner = node.value if isinstance(node, yaml.SequenceNode) else ()
        if isinstance(node, yaml.MappingNode):
            inner = [one for pair in node.value for one in pair]
        sizes[id(node)] = 1 + sum(_written_out(one, sizes) for one in inner)
    return sizes[id(node)]


def _refuse_repeated_keys(tree: yaml.Node | None, name: str) -> None:
    """Raise if a key is set twice: YAML silently keeps the last."""
    waiting, visited = [tree], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.MappingNode) or id(node) in visited:
            continue
        visited.add(id(node))
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                twice = f"{shown_value(key.value)!r} is set twice"
                raise ConfigError(f"{name}:{line}: {twice}, first in line {lines[key.value]}")
            lines[key.value] = line
            waiting.append(value)


def _explain(problem: object, tree: yaml.Node | None, name: str) -> str:
    """One validation problem as `file:line: what was wrong with which key`."""
    assert isinstance(problem, dict)
    location = [part for part in problem["loc"] if isinstance(part, str | int)]
    place = name if tree is None else f"{name}:{_line_of(tree, location)}"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(location[:-1]))
        return f"{place}: unknown setting {_dotted(location)!r}; known here: {known}"
    if problem["type"] == "invalid_key" or location[-1:] == ["[key]"]:
        key = _shown(problem["input"], location)
        return f"{place}: {key} is not a text and can't be a name: put it in quotes"
    wrong = _PLAIN_MESSAGES.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "missing" else f" (got {_shown(problem['input'], location)})"
    return f"{place}: {_dotted(location)}: {wrong}{got}"


_WITH_SECRETS = frozenset({"models", "log", "metrics"})
"""Sections where people may write a key, or an address with a password, by mistake."""
_PLAIN_MESSAGES = {
    "missing": "is missing",
    "dict_type": "must hold settings, as 'name: value'",
    "model_type": "must hold settings, as 'name: value'",
}


def _dotted(location: list[str | int]) -> str:
    return ".".join(shown_value(str(part)) for part in location) or "the file"


def _shown(value: object, location: list[str | int]) -> str:
    """A wrong value for messages; only its type if it may hold a key or a password."""
    if isinstance(value, dict):
        return "settings"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and location[:1] and location[0] in _WITH_SECRETS:
        return "a text"
    if isinstance(value, str):
        value = shown_value(value)
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _line_of(node: yaml.Node | None, location: list[str | int]) -> int:
    """Line, from 1, of the deepest key of `location` that the document holds."""
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        members = [(key, value) for key, value in node.value if key.value == str(part)]
        if not members:
            break
        line, node = members[-1][0].start_mark.line + 1, members[-1][1]
    return line


def _known_keys(location: list[str | int]) -> list[str]:
    """The keys of the section at `location`."""
    section: type[Settings] = Config
    is_name = False
    for part in location:
        field = None if is_name else section.model_fields.get(str(part))
        section = _section_of(field.annotation) if field else section
        is_name = field is not None and get_origin(field.annotation) is dict
    return sorted(section.model_fields)


def _section_of(annotation: object) -> type[Settings]:
    """The settings class in a field's annotation, also inside `dict[str, ...]` or `... | None`."""
    types = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
    return next((one for one in types if issubclass(one, Settings)), Settings)
