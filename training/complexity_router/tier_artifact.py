"""LiteLLM's `heuristic_v2` artifact from a call log, for proxies that can't run a plugin."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from router.errors import TrainingError
from router.models.litellm_import import litellm_module
from router.records import FloatArray, IntArray, Json, Request, message_texts
from router.settings.sections import Config, HeuristicModels
from training.complexity_router.litellm_scores import SETTINGS, TIERS, V2, tier_scores
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions, calls_of, table_of
from training.prompts.labels import dominated_models
from training.prompts.split import split_prompts
from training.prompts.table import PromptTable
from training.whole_file import write_whole

THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(51))
MOST_LOSS = 0.01
"""Most success that the threshold may lose on the validation part, against the best single model."""
LEAST_PAIRS = 50
"""Prompts that two models must share before one can dominate the other."""
LICENCE = (
    "LiteLLM's proxy serves one router of classifier_type heuristic_v2; with a second one in config.yaml it "
    "does not start, unless LITELLM_LICENSE holds a signed licence with the feature auto_router (LiteLLM "
    "1.106). The SDK's litellm.Router has no such limit."
)
"""Source: proxy/auth/litellm_license.py, auto_router_capability_limit; proxy/proxy_server.py,
validate_auto_router_capability_limits; router_utils/auto_router_model_naming.py, HEURISTIC_V2_CAPABILITY."""

Ladder = tuple[int, int, int, int]
"""Column of each tier's model, from easy to hard; one model may serve several tiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Means over the held-out prompts whose outcomes and costs are known for both policies; NaN if none."""

    policy: str
    success: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TierExport:
    """The artifact, and what it is worth.

    Attributes:
        tiers: model of each of LiteLLM's tiers.
        held_out: number of prompts that took no part in the artifact.
        compared: held-out prompts with known outcome and cost of both the chosen tier's model and the best
            single model.
        chosen: held-out prompts per tier, as LiteLLM's own router chooses.
        loses: sentences on what a router has and the artifact lacks.
        licence: what LiteLLM's proxy allows without a licence.
    """

    out: Path
    artifact: Mapping[str, Json]
    tiers: Mapping[str, str]
    held_out: int
    compared: int
    chosen: Mapping[str, int]
    worth: Worth
    best_single: Worth
    loses: Sequence[str]
    licence: str = LICENCE

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """LiteLLM's request type and similarity cohort of each prompt, and the text that they come from."""

    types: Sequence[str]
    cohorts: Sequence[str]
    texts: Sequence[str]


def export_tiers(sources: Sequence[str], reading: ReadOptions, out: Path, reporter: Reporter) -> TierExport:
    """Write the artifact of call logs, whole or not at all: one line of JSON, which is also YAML.

    Raises:
        CallLogError: a log can't be read, or `out` can't be written.
        TrainingError: too few outcomes or costs of the tiers' models are known, or LiteLLM has no
            heuristic_v2.
        MissingExtra: LiteLLM is not installed.
    """
    with calls_of(sources, reading, reporter) as files:
        table = table_of(files, reading.config, reporter)
    export = tier_export(table, reading.config, out)
    write_whole(out, json.dumps(export.artifact) + "\n")
    return export


def tier_export(table: PromptTable, config: Config, out: Path) -> TierExport:
    """The artifact of a prompt table, and its worth on the held-out part; writes nothing."""
    predictor = _litellm_predictor()
    split = split_prompts(table, config.training)
    train, validation, test = (table.rows(part) for part in (split.train, split.validation, split.test))
    ladder = ladder_of(train, config.rules.heuristic)
    artifact = statistics(train, ladder)
    artifact |= {
        "success_definition": "the call succeeded, or its score was at least "
        f"{config.training.success_score:g}",
        "split_method": f"by {split.by}: {len(train):,} prompts for the statistics, {len(validation):,} for "
        f"the threshold, {len(test):,} held out",
    }
    best = best_tier_model(train, ladder)
    artifact["routing_threshold"] = _threshold(artifact, validation, ladder, best)
    predictor.TrainedTierArtifact.model_validate(artifact)
    choices = tier_scores({**SETTINGS[V2], "heuristic_v2_artifact": artifact}, test.requests).tier
    compared, worth, single = _worth(test, np.array(ladder)[choices], best)
    return TierExport(
        out=out,
        artifact=artifact,
        tiers={tier: table.models[column] for tier, column in zip(TIERS, ladder, strict=True)},
        held_out=len(test),
        compared=compared,
        chosen={tier: int((choices == place).sum()) for place, tier in enumerate(TIERS)},
        worth=worth,
        best_single=single,
        loses=_loses(table, ladder, artifact),
    )


def ladder_of(table: PromptTable, team: HeuristicModels | None) -> Ladder:
    """The tiers' models: the team's cheap, middle and strong (twice), or else chosen by mean cost.

    By cost, the cheapest model is SIMPLE and the dearest REASONING; the others are spread evenly between,
    without those that another model beats on the same prompts. Success on different prompts does not count:
    in a log whose strong model got the hard prompts, that model would look worst.

    Raises:
        TrainingError: there are fewer than two usable models, or one of the team's has no known outcome.
    """
    place = {model: column for column, model in enumerate(table.models)}
    known = ~np.isnan(table.success)
    if team is not None:
        names = (team.cheap, team.middle, team.strong, team.strong)
        unknown = sorted({name for name in names if name not in place or not known[:, place[name]].any()})
        if unknown:
            raise TrainingError(
                f"no outcome of {', '.join(unknown)} is in the log, which rules.heuristic names; log its "
                "calls, or name a model that the log has"
            )
        simple, medium, hard, hardest = (place[name] for name in names)
        return simple, medium, hard, hardest
    cost = _mean_cost(table)
    usable = [
        int(column) for column in np.argsort(cost) if known[:, column].any() and np.isfinite(cost[column])
    ]
    if len(usable) < 2:
        raise TrainingError(
            f"{len(usable)} of the log's models have outcomes and costs, and tiers need two; log more, or "
            "name the models in rules.heuristic of pointsman.yaml"
        )
    rungs = _undominated(table, usable)
    steps = np.linspace(0, len(rungs) - 1, len(TIERS)).round().astype(int)
    simple, medium, hard, hardest = (rungs[step] for step in steps)
    return simple, medium, hard, hardest


def _undominated(table: PromptTable, columns: list[int]) -> list[int]:
    """The models that no other beats in cost and success on the same prompts; all if only one is left."""
    among = table.columns([table.models[column] for column in columns])
    beaten = {model for model, by in dominated_models(among).items() if by["prompts"] >= LEAST_PAIRS}
    unbeaten = [column for column in columns if table.models[column] not in beaten]
    return unbeaten if len(unbeaten) > 1 else columns


def statistics(table: PromptTable, ladder: Ladder) -> dict[str, Json]:
    """Count successes and observations of each tier: overall, per request type and per cohort.

    A prompt counts once for each tier with a known outcome, however often its model was called.
    """
    kinds = _kinds_of(table.requests)
    rows_by_kind: dict[str, list[dict[str, Json]]] = {"global": [], "domain": [], "cohort": []}
    for tier, column in enumerate(ladder, start=1):
        success = table.success[:, column]
        rows: list[int] = np.flatnonzero(~np.isnan(success)).tolist()
        rows_by_kind["global"].append(_statistic(tier, success[rows]))
        for kind, member, names in (
            ("domain", "request_type", kinds.types),
            ("cohort", "cohort", kinds.cohorts),
        ):
            groups: dict[str, list[int]] = defaultdict(list)
            for row in rows:
                groups[names[row]].append(row)
            rows_by_kind[kind] += [
                {**_statistic(tier, success[members]), member: name}
                for name, members in sorted(groups.items())
            ]
    return {"schema_version": 1, **{f"{kind}_statistics": rows for kind, rows in rows_by_kind.items()}}


def best_tier_model(table: PromptTable, ladder: Ladder) -> int:
    """Column of the tier model with the best success rate; the easier tier wins ties."""
    return max(ladder, key=lambda column: float(np.nanmean(table.success[:, column])))


def _statistic(tier: int, success: FloatArray) -> dict[str, Json]:
    return {"tier": tier, "successes": float(success.sum()), "observations": float(len(success))}


def _kinds_of(requests: Sequence[Request]) -> _Kinds:
    """Classify the last user turn of each request by LiteLLM's own code."""
    from litellm.router_strategy.adaptive_router.classifier import classify_prompt

    predictor = _litellm_predictor()
    texts = [_last_user_turn(request) for request in requests]
    types = [classify_prompt(text) for text in texts]
    cohorts = [predictor.similarity_cohort(text, kind) for text, kind in zip(texts, types, strict=True)]
    return _Kinds(types=[kind.value for kind in types], cohorts=cohorts, texts=texts)


def _last_user_turn(request: Request) -> str:
    turns = [text for role, text in message_texts(request.messages) if role == "user"]
    return turns[-1] if turns else ""


def _threshold(artifact: Mapping[str, Json], table: PromptTable, ladder: Ladder, best: int) -> float:
    """The threshold that costs least on the validation part at nearly the best single model's success.

    If no threshold comes near that success, the one with the best success, on ties the highest; 1 if nothing
    can be compared.
    """
    chances = _chances(artifact, table.requests)
    tried = []
    for threshold in THRESHOLDS:
        meets = chances >= threshold
        tiers = np.where(meets.any(axis=1), meets.argmax(axis=1), len(TIERS) - 1)
        compared, worth, single = _worth(table, np.array(ladder)[tiers], best)
        if compared:
            tried.append((threshold, worth, worth.success >= single.success - MOST_LOSS))
    if not tried:
        return 1.0
    near = [(worth.cost_usd, -threshold, threshold) for threshold, worth, enough in tried if enough]
    return min(near)[2] if near else max(tried, key=lambda trial: (trial[1].success, trial[0]))[0]


def _chances(artifact: Mapping[str, Json], requests: Sequence[Request]) -> FloatArray:
    """LiteLLM's chance of success of each tier, shape (n, 4)."""
    from litellm.types.router import RequestType

    module = _litellm_predictor()
    predictor = module.TierSuccessPredictor(module.TrainedTierArtifact.model_validate(artifact))
    kinds = _kinds_of(requests)
    chances = [
        [predictor.predict(text, RequestType(kind)).probabilities[tier] for tier in range(1, len(TIERS) + 1)]
        for text, kind in zip(kinds.texts, kinds.types, strict=True)
    ]
    return np.array(chances, dtype=np.float64).reshape(-1, len(TIERS))


def _worth(table: PromptTable, chosen: IntArray, best: int) -> tuple[int, Worth, Worth]:
    """Number of prompts known for both, and the worth of the choices and of the best single model there."""
    rows = np.arange(len(table))
    single = np.full(len(table), best)
    pairs = [(table.success[rows, columns], table.cost[rows, columns]) for columns in (chosen, single)]
    known = ~np.isnan([values for pair in pairs for values in pair]).any(axis=0)
    names = ("the tiers chosen", table.models[best])
    worths = [
        Worth(policy=name, success=_mean(success[known]), cost_usd=_mean(cost[known]))
        for name, (success, cost) in zip(names, pairs, strict=True)
    ]
    return int(known.sum()), worths[0], worths[1]


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _mean_cost(table: PromptTable) -> FloatArray:
    """Mean cost of each model's prompts; NaN if unknown."""
    known = ~np.isnan(table.cost)
    total, unknown = np.nansum(table.cost, axis=0), np.full(len(table.models), np.nan)
    mean: FloatArray = np.divide(total, known.sum(axis=0), out=unknown, where=known.any(axis=0))
    return mean


def _loses(table: PromptTable, ladder: Ladder, artifact: Mapping[str, Json]) -> list[str]:
    cohorts = len({statistic["cohort"] for statistic in artifact["cohort_statistics"]})
    types = len({statistic["request_type"] for statistic in artifact["domain_statistics"]})
    left_out = [model for column, model in enumerate(table.models) if column not in ladder]
    sentences = [
        f"No embedding and no neighbours: LiteLLM sorts prompts into {types} request types and {cohorts} "
        "cohorts by patterns and length of the user's last message, and all prompts of a cohort get one "
        "tier.",
        "No task type, tags, tools, response format or earlier messages: none of them changes the tier.",
        "No calibration of its own: a chance is a cohort's success rate, shrunk to its type's and to all "
        "prompts', and a higher tier never counts as less likely to succeed than a lower one.",
        "No prices and no predicted cost: it takes the first tier whose chance reaches one threshold, "
        f"{artifact['routing_threshold']:g}, fixed when it was exported.",
        "No stepping aside: if no tier reaches the threshold, LiteLLM takes REASONING. There is no rule "
        "table, no limit on cost, and no decision in the log.",
    ]
    if left_out:
        sentences.append(
            f"{len(set(ladder))} of the log's {len(table.models)} models: {', '.join(left_out)} "
            f"{'is' if len(left_out) == 1 else 'are'} left out, because there are four tiers with one model "
            "each, and none for a model that another one beats."
        )
    return sentences


def _litellm_predictor() -> Any:  # noqa: ANN401 - a module without stable types
    """LiteLLM's module that defines the artifact.

    Raises:
        TrainingError: the installed version has no such module.
    """
    litellm_module()
    try:
        from litellm.router_strategy.complexity_router import tier_predictor
    except ImportError as error:
        raise TrainingError(
            f"the installed LiteLLM has no heuristic_v2 ({error}); install a newer one, for example 1.106"
        ) from error
    return tier_predictor
