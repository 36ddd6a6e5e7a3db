"""Settings as the options of one run change them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from router.errors import ConfigError
from router.records import Json
from router.settings.outcome_rules import JudgeRule, OutcomeRule, usual_rules
from router.settings.sections import Config, Objective
from router.settings.yaml_file import config_of


def with_aliases(config: Config, names: Mapping[str, str] | None) -> Config:
    """The settings with more aliases of models.

    Raises:
        ConfigError: an alias leads to another alias.
    """
    if not names:
        return config
    aliases = {**config.aliases, **names}
    return config.model_copy(update={"aliases": (config_of({"aliases": aliases}) or config).aliases})


def with_training(config: Config, *, encoder: str | None, estimator: str | None) -> Config:
    """The settings with another encoder and estimator; None keeps the one that is there.

    Raises:
        ConfigError: there is no such estimator.
    """
    changes = {name: value for name, value in (("encoder", encoder), ("estimator", estimator)) if value}
    if estimator not in (None, "auto", "success", "label"):
        raise ConfigError(f"--estimator {estimator!r}: it must be one of auto, success, label")
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def with_promise(config: Config, max_quality_loss: float | None, confidence: float | None) -> Config:
    """The settings with a promise of a bounded loss as their objective, if the options request one.

    Raises:
        ConfigError: as `promise_of`.
    """
    objective = promise_of(max_quality_loss, confidence)
    return config if objective is None else config.model_copy(update={"objective": objective})


def promise_of(max_quality_loss: float | None, confidence: float | None) -> Objective | None:
    """The objective that --max-quality-loss and --confidence request; None if they request no promise.

    Raises:
        ConfigError: a value is out of range, or there is a confidence without a loss.
    """
    if max_quality_loss is None:
        if confidence is not None:
            raise ConfigError("--confidence belongs to a promise: give --max-quality-loss as well")
        return None
    values = {"max_quality_loss": max_quality_loss, "confidence": confidence}
    try:
        return Objective.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{name}: {error.errors()[0]['msg'].lower()}") from error


def with_judge(config: Config, options: Mapping[str, Json]) -> Config:
    """Add a judge to the outcome rules, or change the one that is there, as the options of a run request.

    A new judge comes last, but before an `otherwise`. If the settings declare no rules, rules that give a
    log's own outcomes their usual meaning come before it.

    Args:
        options: by their names in the settings file; if there are none, the settings stay as they are.

    Raises:
        ConfigError: the options change a judge that does not exist, or a value is wrong.
    """
    if not options:
        return config
    present = config.outcomes.judge
    if present is None and "model" not in options:
        name = next(iter(options)).removesuffix("_usd").replace("_", "-")
        raise ConfigError(
            f"--judge-{name}: there is no judge to change; give --judge MODEL, or declare a judge in "
            "outcomes.rules"
        )
    before = present[1].model_dump(exclude_unset=True) if present else {}
    try:
        rule = OutcomeRule(judge=JudgeRule.model_validate({**before, **options}))
    except ValidationError as error:
        raise ConfigError(f"--judge: {error.errors()[0]['msg'].lower()}") from error
    rules = list(config.outcomes.rules)
    if present:
        rules[present[0]] = rule
    else:
        rules = rules or usual_rules(config.training.success_score)
        rules.insert(len(rules) - bool(rules[-1].otherwise), rule)
    outcomes = config.outcomes.model_copy(update={"rules": rules})
    return config.model_copy(update={"outcomes": outcomes})
