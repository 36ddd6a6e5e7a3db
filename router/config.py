"""The team's settings: `pointsman.yaml`, checked once into frozen values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from router.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction in [0, 1]."""
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""US dollars, not negative."""


def _share_or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """One message for the union, where pydantic has one per branch."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("must be a number from 0 to 1, or 'auto'") from None


ShareOrAuto = Annotated[Share | Literal["auto"], WrapValidator(_share_or_auto)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Price(_Settings):
    """List price of a model, in USD per million tokens."""

    input_usd_per_million: Usd
    output_usd_per_million: Usd


class Capabilities(_Settings):
    """What a model can do; a field left out is unknown and rules nothing out."""

    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    context_tokens: Annotated[int, Field(gt=0)] | None = None


class ModelSettings(_Settings):
    """One model of the team's.

    Attributes:
        local: the model runs on the team's own machines.
        price: overrides the price seen in the log and LiteLLM's list.
    """

    price: Price | None = None
    capabilities: Capabilities = Capabilities()
    local: bool = False


class HeuristicModels(_Settings):
    """The models that the keyword complexity score chooses among."""

    strong: str
    middle: str
    cheap: str


class Rules(_Settings):
    """The team's rule table.

    Attributes:
        default: model of a request that nothing else covers; None: the best single model of the training log.
        task_types: model per task type; looked up first.
        heuristic: decides by the keyword complexity score, before `default`.
    """

    default: str | None = None
    task_types: dict[str, str] = {}
    heuristic: HeuristicModels | None = None

    def models(self) -> set[str]:
        """Every model that the table names."""
        named = set(self.task_types.values())
        if self.default:
            named.add(self.default)
        if self.heuristic:
            named |= {self.heuristic.strong, self.heuristic.middle, self.heuristic.cheap}
        return named


class Objective(_Settings):
    """What the policy is for.

    Attributes:
        kind: "cheapest": least cost at no less than the best single model's success rate;
            "quality": least cost at a success rate of `quality`; "budget": best success rate at a mean cost
            of `usd_per_call`.
    """

    kind: Literal["cheapest", "quality", "budget"] = "cheapest"
    quality: Share | None = None
    usd_per_call: Usd | None = None

    @model_validator(mode="after")
    def _has_its_target(self) -> Self:
        if (self.kind == "quality") != (self.quality is not None):
            raise ValueError("kind 'quality' needs 'quality', a success rate; another kind has none")
        if (self.kind == "budget") != (self.usd_per_call is not None):
            raise ValueError("kind 'budget' needs 'usd_per_call', a mean cost; another kind has none")
        return self


class Fallback(_Settings):
    """When the policy steps aside to the rule table.

    Attributes:
        confidence: a threshold in [0, 1]; "auto": from the risk-coverage curve of the calibration part.
        max_risk: with "auto", the highest failure rate allowed among the requests the policy keeps.
        unfamiliar_share: share of the training prompts that count as too unlike the rest to decide on.
    """

    confidence: ShareOrAuto = "auto"
    max_risk: Share | None = None
    unfamiliar_share: Annotated[float, Field(ge=0, lt=1)] = 0.005


class Training(_Settings):
    """How a router is fitted.

    Attributes:
        success_score: a call with a score but no outcome succeeded from this score on.
        min_calls: a model with fewer known outcomes is left out.
        max_reject_share: over this share of unreadable rows, reading stops.
        max_prompts: prompts kept for fitting; a larger log is sampled by prompt key.
        test_share: part of the prompts held out for the report.
        validation_share: part that chooses between the estimators.
    """

    encoder: str = "minilm"
    estimator: Literal["auto", "success", "label"] = "auto"
    success_score: Share = 0.5
    min_calls: Annotated[int, Field(ge=2)] = 50
    max_reject_share: Share = 0.05
    max_prompts: Annotated[int, Field(ge=100)] = 50_000
    test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    seed: Annotated[int, Field(ge=0)] = 0
    runner: Literal["native", "ray"] = "native"


class Config(_Settings):
    """The whole of `pointsman.yaml`.

    Attributes:
        models: settings per LiteLLM model name; a model of the log that is missing here gets the defaults.
        prices: "log": what the team's own calls cost, else LiteLLM's list; "litellm": the list first.
    """

    models: dict[str, ModelSettings] = {}
    rules: Rules = Rules()
    objective: Objective = Objective()
    fallback: Fallback = Fallback()
    training: Training = Training()
    prices: Literal["log", "litellm"] = "log"


def load_config(path: Path | None) -> Config:
    """The settings in a YAML file; all defaults when there is no path.

    Raises:
        ConfigError: unreadable, not YAML, or a key that is unknown, set twice or has a wrong value, with its
            line.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    return parse_config(text, name=str(path))


def parse_config(text: str, *, name: str = "pointsman.yaml") -> Config:
    """The settings in a YAML text; `name` is what errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    if value is None:
        return Config()
    _refuse_repeated_keys(tree, name)
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(problem, tree, name) for problem in error.errors())) from error


def _refuse_repeated_keys(tree: yaml.Node | None, name: str) -> None:
    """YAML keeps the last of two equal keys and says nothing; here they are an error."""
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
                raise ConfigError(
                    f"{name}:{line}: {key.value!r} is set twice, first in line {lines[key.value]}"
                )
            lines[key.value] = line
            waiting.append(value)


def _explain(problem: object, tree: yaml.Node | None, name: str) -> str:
    """One validation problem as `file:line: what was wrong with which key`."""
    assert isinstance(problem, dict)
    location = [part for part in problem["loc"] if isinstance(part, str | int)]
    place = f"{name}:{_line_of(tree, location)}"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(location[:-1]))
        return f"{place}: unknown setting {_dotted(location)!r}; known here: {known}"
    if problem["type"] == "invalid_key" or location[-1:] == ["[key]"]:
        return f"{place}: {problem['input']!r} is no text and can't be a name: put it in quotes"
    wrong = _IN_OUR_WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "missing" else f" (got {_short(problem['input'])})"
    return f"{place}: {_dotted(location)}: {wrong}{got}"


_IN_OUR_WORDS = {
    "missing": "is missing",
    "dict_type": "must hold settings, as 'name: value'",
    "model_type": "must hold settings, as 'name: value'",
}


def _dotted(location: list[str | int]) -> str:
    return ".".join(str(part) for part in location) or "the file"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _line_of(node: yaml.Node | None, location: list[str | int]) -> int:
    """Line, from 1, of the deepest key of `location` that the document holds."""
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(key, value) for key, value in node.value if key.value == str(part)]
        if not found:
            break
        line, node = found[-1][0].start_mark.line + 1, found[-1][1]
    return line


def _known_keys(location: list[str | int]) -> list[str]:
    """Settings that the section at `location` may hold."""
    section: type[_Settings] = Config
    sections: dict[str, type[_Settings]] = {
        "rules": Rules, "objective": Objective, "fallback": Fallback, "training": Training,
        "price": Price, "capabilities": Capabilities, "heuristic": HeuristicModels,
    }  # fmt: skip
    for number, part in enumerate(location):
        is_model = number == 1 and location[0] == "models"
        section = ModelSettings if is_model else sections.get(str(part), section)
    return sorted(section.model_fields)
