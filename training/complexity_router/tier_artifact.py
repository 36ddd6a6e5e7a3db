"""LiteLLM's `heuristic_v2` artifact, made from a call log, for those who may not run a plugin."""

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
from training.prompts.split import split_groups
from training.prompts.table import PromptTable
from training.whole_file import write_whole

THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(51))
MOST_LOSS = 0.01
"""How far below the best single model's success, on the validation part, the threshold may leave it."""
LEAST_PAIRS = 50
"""Prompts that two models share from which one can be called better than the other."""
LICENCE = (
    "LiteLLM's proxy serves one router of classifier_type heuristic_v2; with a second one in config.yaml it "
    "does not start, unless LITELLM_LICENSE holds a signed licence with the feature auto_router (LiteLLM "
    "1.106). The SDK's litellm.Router has no such limit."
)
"""proxy/auth/litellm_license.py, auto_router_capability_limit; proxy/proxy_server.py,
validate_auto_router_capability_limits; router_utils/auto_router_model_naming.py, HEURISTIC_V2_CAPABILITY."""

Ladder = tuple[int, int, int, int]
"""Column of each tier's model, from easy to hard; one model may serve several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Means over the held-out prompts where both policies' outcomes and costs are known; NaN without any."""

    policy: str
    success: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TierExport:
    """What was written, and what it is worth.

    Attributes:
        tiers: model of each of LiteLLM's tiers.
        held_out: prompts that took no part in it; `compared` of them have the outcomes and the costs of the
            chosen tier's model and of the best single one.
        chosen: held-out prompts per tier, as LiteLLM's own router chose.
        loses: what the router has and the artifact has not, a sentence each.
        licence: what LiteLLM's proxy allows without one.
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
    """LiteLLM's request type and similarity cohort of each prompt."""

    types: Sequence[str]
    cohorts: Sequence[str]
    asked: Sequence[str]


def export_tiers(sources: Sequence[str], reading: ReadOptions, out: Path, reporter: Reporter) -> TierExport:
    """Write the artifact of some call logs, whole or not at all: one line of JSON, which is YAML too.

    Raises:
        CallLogError: a log can't be read, or `out` can't be written.
        TrainingError: too little is known of the tiers' models, or LiteLLM has no heuristic_v2.
        MissingExtra: LiteLLM is not installed.
    """
    with calls_of(sources, reading, reporter) as files:
        table = table_of(files, reading.config, reporter)
    found = tier_export(table, reading.config, out)
    write_whole(out, json.dumps(found.artifact) + "\n")
    return found


def tier_export(table: PromptTable, config: Config, out: Path) -> TierExport:
    """The artifact of a prompt table, and what it is worth on the part held out; nothing is written."""
    predictor = _litellm_predictor()
    settings = config.training
    split = split_groups(
        table.groups,
        table.times,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
        seed=settings.seed,
    )
    train, validation, test = (table.rows(part) for part in (split.train, split.validation, split.test))
    ladder = ladder_of(train, config.rules.heuristic)
    artifact = statistics(train, ladder)
    artifact |= {
        "success_definition": f"the call succeeded, or its score was at least {settings.success_score:g}",
        "split_method": f"by {split.by}: {len(train)} prompts for the statistics, {len(validation)} for the "
        f"threshold, {len(test)} held out",
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
    """The tiers' models: the team's cheap, middle and strong (twice), else by what their calls cost.

    By cost the cheapest is SIMPLE, the dearest REASONING, and the others are spread evenly between, without
    those that another model beats on the same prompts. Success on different prompts plays no part: a log in
    which the strong model got the hard ones would call it the worst.

    Raises:
        TrainingError: fewer than two models, or no outcome of one of them.
    """
    place = {model: column for column, model in enumerate(table.models)}
    known = ~np.isnan(table.success)
    if team is not None:
        names = (team.cheap, team.middle, team.strong, team.strong)
        lacking = sorted({name for name in names if name not in place or not known[:, place[name]].any()})
        if lacking:
            raise TrainingError(
                f"no outcome of {', '.join(lacking)} is in the log, which rules.heuristic names; log its "
                "calls, or "
                "name a model that the log has"
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
            "name the "
            "models in rules.heuristic of pointsman.yaml"
        )
    rungs = _undominated(table, usable)
    steps = np.linspace(0, len(rungs) - 1, len(TIERS)).round().astype(int)
    simple, medium, hard, hardest = (rungs[step] for step in steps)
    return simple, medium, hard, hardest


def _undominated(table: PromptTable, columns: list[int]) -> list[int]:
    """The models that none of the others beats in cost and success on the same prompts, if two are left."""
    among = table.columns([table.models[column] for column in columns])
    beaten = {model for model, by in dominated_models(among).items() if by["prompts"] >= LEAST_PAIRS}
    left = [column for column in columns if table.models[column] not in beaten]
    return left if len(left) > 1 else columns


def statistics(table: PromptTable, ladder: Ladder) -> dict[str, Json]:
    """Successes and observations of each tier: over all prompts, per request type, per cohort.

    A prompt counts once per tier whose model's outcome is known, however often it was called.
    """
    kinds = _kinds_of(table.requests)
    found: dict[str, list[dict[str, Json]]] = {"global": [], "domain": [], "cohort": []}
    for tier, column in enumerate(ladder, start=1):
        success = table.success[:, column]
        rows: list[int] = np.flatnonzero(~np.isnan(success)).tolist()
        found["global"].append(_statistic(tier, success[rows]))
        for kind, member, names in (
            ("domain", "request_type", kinds.types),
            ("cohort", "cohort", kinds.cohorts),
        ):
            groups: dict[str, list[int]] = defaultdict(list)
            for row in rows:
                groups[names[row]].append(row)
            found[kind] += [
                {**_statistic(tier, success[members]), member: name}
                for name, members in sorted(groups.items())
            ]
    return {"schema_version": 1, **{f"{kind}_statistics": rows for kind, rows in found.items()}}


def best_tier_model(table: PromptTable, ladder: Ladder) -> int:
    """Column of the tiers' model with the best success rate; on ties that of the easier tier."""
    return max(ladder, key=lambda column: float(np.nanmean(table.success[:, column])))


def _statistic(tier: int, success: FloatArray) -> dict[str, Json]:
    return {"tier": tier, "successes": float(success.sum()), "observations": float(len(success))}


def _kinds_of(requests: Sequence[Request]) -> _Kinds:
    """How LiteLLM's own code sorts the last thing that the user said in each request."""
    from litellm.router_strategy.adaptive_router.classifier import classify_prompt

    predictor = _litellm_predictor()
    asked = [_asked(request) for request in requests]
    types = [classify_prompt(text) for text in asked]
    cohorts = [predictor.similarity_cohort(text, kind) for text, kind in zip(asked, types, strict=True)]
    return _Kinds(types=[kind.value for kind in types], cohorts=cohorts, asked=asked)


def _asked(request: Request) -> str:
    said = [text for role, text in message_texts(request.messages) if role == "user"]
    return said[-1] if said else ""


def _threshold(artifact: Mapping[str, Json], table: PromptTable, ladder: Ladder, best: int) -> float:
    """The threshold that costs least on the validation part at nearly the best single model's success.

    Where none comes near, or nothing can be compared, that with the best success, then the highest.
    """
    chances = _chances(artifact, table.requests)
    found = []
    for threshold in THRESHOLDS:
        meets = chances >= threshold
        tiers = np.where(meets.any(axis=1), meets.argmax(axis=1), len(TIERS) - 1)
        compared, worth, single = _worth(table, np.array(ladder)[tiers], best)
        if compared:
            found.append((threshold, worth, worth.success >= single.success - MOST_LOSS))
    if not found:
        return 1.0
    near = [(worth.cost_usd, -threshold, threshold) for threshold, worth, enough in found if enough]
    return min(near)[2] if near else max(found, key=lambda one: (one[1].success, one[0]))[0]


def _chances(artifact: Mapping[str, Json], requests: Sequence[Request]) -> FloatArray:
    """LiteLLM's chance of success of each tier, shape (n, 4)."""
    from litellm.types.router import RequestType

    module = _litellm_predictor()
    predictor = module.TierSuccessPredictor(module.TrainedTierArtifact.model_validate(artifact))
    kinds = _kinds_of(requests)
    found = [
        [predictor.predict(text, RequestType(kind)).probabilities[tier] for tier in range(1, len(TIERS) + 1)]
        for text, kind in zip(kinds.asked, kinds.types, strict=True)
    ]
    return np.array(found, dtype=np.float64).reshape(-1, len(TIERS))


def _worth(table: PromptTable, chosen: IntArray, best: int) -> tuple[int, Worth, Worth]:
    """Prompts where both can be judged, and what the choices and the best single model are worth there."""
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
    """Mean cost of a model's prompts; NaN where unknown."""
    known = ~np.isnan(table.cost)
    total, unknown = np.nansum(table.cost, axis=0), np.full(len(table.models), np.nan)
    mean: FloatArray = np.divide(total, known.sum(axis=0), out=unknown, where=known.any(axis=0))
    return mean


def _loses(table: PromptTable, ladder: Ladder, artifact: Mapping[str, Json]) -> list[str]:
    cohorts = len({statistic["cohort"] for statistic in artifact["cohort_statistics"]})
    types = len({statistic["request_type"] for statistic in artifact["domain_statistics"]})
    left = [model for column, model in enumerate(table.models) if column not in ladder]
    sentences = [
        f"No embedding and no neighbours: LiteLLM sorts prompts into {types} request types and {cohorts} "
        "cohorts "
        "by patterns and length of the user's last message, and all prompts of a cohort get one tier.",
        "No task type, tags, tools, response format or earlier messages: none of them changes the tier.",
        "No calibration of its own: a chance is a cohort's success rate, shrunk to its type's and to all "
        "prompts', and a higher tier never counts as less likely to succeed than a lower one.",
        "No prices and no predicted cost: it takes the first tier whose chance reaches one threshold, "
        f"{artifact['routing_threshold']:g}, fixed when it was exported.",
        "No stepping aside: where no tier reaches the threshold LiteLLM takes REASONING, and the rule table, "
        "limits on cost, and the log's decision columns are not there.",
    ]
    if left:
        sentences.append(
            f"{len(set(ladder))} of the log's {len(table.models)} models: {', '.join(left)} "
            f"{'is' if len(left) == 1 else 'are'} left out, as there are four tiers with one model each, "
            "and none for a model that another one beats."
        )
    return sentences


def _litellm_predictor() -> Any:  # noqa: ANN401 - a module without stable types
    """LiteLLM's module that defines the artifact.

    Raises:
        TrainingError: the installed version has none.
    """
    litellm_module()
    try:
        from litellm.router_strategy.complexity_router import tier_predictor
    except ImportError as error:
        raise TrainingError(
            f"the installed LiteLLM has no heuristic_v2 ({error}); install a newer one, for example 1.106"
        ) from error
    return tier_predictor
