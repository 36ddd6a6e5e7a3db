"""LiteLLM's complexity router as installed: the tier and the score that its own code gives each request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
from joblib import Parallel, delayed

from router.errors import MissingExtra
from router.models.litellm_import import litellm_module
from router.records import FloatArray, IntArray, Json, Request
from router.settings.sections import HeuristicModels
from training.statistics.policy_curves import NO_CHOICE

V1 = "LiteLLM complexity router"
V2 = "LiteLLM heuristic_v2"
SETTINGS: Final[Mapping[str, Mapping[str, Json]]] = {V1: {}, V2: {"classifier_type": "heuristic_v2"}}
TIERS = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")
"""LiteLLM's tiers, from easy to hard."""
WORTH_A_PROCESS = 10_000
"""Requests per process: with fewer, the seconds that a process needs to import LiteLLM don't pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierScores:
    """The results of one of LiteLLM's classifiers for n requests.

    Attributes:
        tier: shape (n,); place in `TIERS`.
        score: shape (n,); higher is harder. For v1 its weighted score, for v2 the chance that the SIMPLE tier
            fails. If LiteLLM decided without a score, the mean over the requests of the same tier.
    """

    tier: IntArray
    score: FloatArray


def litellm_scores(requests: Sequence[Request]) -> tuple[dict[str, TierScores], list[str]]:
    """Tiers and scores by `V1` and `V2`, and a sentence for each classifier that is not available.

    Each request passes LiteLLM's routing hook as in the proxy: the hook picks the last user turn and the
    system text by itself. It calls no model and downloads nothing. With 1.106.2 on one core a request
    of 265 characters takes about 0.1 ms by v1 and 0.2 ms by v2.
    """
    scores: dict[str, TierScores] = {}
    missing = []
    for name, settings in SETTINGS.items():
        try:
            scores[name] = tier_scores(settings, requests)
        except (MissingExtra, ImportError):
            missing.append(f"{name} is left out: LiteLLM is not installed, or has no complexity router")
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # an unknown version
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            missing.append(f"{name} is left out: LiteLLM {_installed()} rejects the call ({reason})")
    return scores, missing


def tier_choices(scores: TierScores, tiers: HeuristicModels, models: Sequence[str]) -> IntArray:
    """The column of each request's tier: SIMPLE is cheap, MEDIUM middle, COMPLEX and REASONING strong.

    Args:
        models: names of the columns.

    Returns:
        Shape (n,); -1 if no column is the tier's model.
    """
    place = {model: column for column, model in enumerate(models)}
    named = (tiers.cheap, tiers.middle, tiers.strong, tiers.strong)
    columns = np.array([place.get(model, NO_CHOICE) for model in named], dtype=np.int64)
    return np.asarray(columns[scores.tier])


def tier_scores(settings: Mapping[str, Json], requests: Sequence[Request]) -> TierScores:
    """Classify requests by LiteLLM's complexity router, with these `complexity_router_config` settings.

    Raises:
        MissingExtra: LiteLLM is not installed.
        ImportError, ValueError: LiteLLM has no complexity router, or rejects the settings.
    """
    jobs = max(1, min(os.cpu_count() or 1, len(requests) // WORTH_A_PROCESS))
    parts = [requests[start::jobs] for start in range(jobs)]
    answers = Parallel(n_jobs=jobs)(delayed(_classified)(settings, part) for part in parts)
    tier = np.zeros(len(requests), dtype=np.int64)
    score = np.zeros(len(requests))
    for start, (tiers, scores) in enumerate(answers):
        tier[start::jobs], score[start::jobs] = tiers, scores
    return TierScores(tier=tier, score=_filled(score, tier))


def _classified(settings: Mapping[str, Json], requests: Sequence[Request]) -> tuple[list[int], list[float]]:
    """Tier and score of each request; NaN if LiteLLM gives no score."""
    router = _complexity_router(settings)
    # In a thread of its own, because a notebook's thread already has an event loop.
    with ThreadPoolExecutor(1) as worker:
        decisions = worker.submit(asyncio.run, _decisions(router, requests)).result()
    tiers = [TIERS.index(model) for model, _ in decisions]
    return tiers, [_score_of(decision) for _, decision in decisions]


def _complexity_router(settings: Mapping[str, Json]) -> Any:  # noqa: ANN401 - a class without stable types
    """LiteLLM's router with one model per tier, named like the tier."""
    litellm_module()
    from litellm.router_strategy.complexity_router import ComplexityRouter

    class Quick(ComplexityRouter):
        """Searches for a keyword as plain text before it matches whole words: the same answer, faster."""

        savings_baseline = None  # for the proxy's spend log; its default looks up the proxy's models

        def _keyword_matches(self, text: str, keyword: str) -> bool:
            return keyword.lower() in text and super()._keyword_matches(text, keyword)

    tiers = {tier: tier for tier in TIERS}
    no_models: Any = None  # the proxy's models, which these classifiers never use
    return Quick("pointsman", no_models, {**settings, "tiers": tiers})


async def _decisions(router: Any, requests: Iterable[Request]) -> list[tuple[str, Mapping[str, Json]]]:  # noqa: ANN401
    """For each request the tier's model, and LiteLLM's record of the decision."""
    decisions = []
    for request in requests:
        arguments = {"tools": request.tools} if request.tools else {}
        messages = [dict(message) for message in request.messages]
        answer = await router.async_pre_routing_hook(
            model="pointsman", request_kwargs=arguments, messages=messages
        )
        decisions.append((answer.model, answer.routing_decision or {}))
    return decisions


def _score_of(decision: Mapping[str, Json]) -> float:
    forecast = decision.get("heuristic_v2_forecast")
    if forecast is not None:
        return 1.0 - float(forecast["probabilities"][TIERS[0]])
    score = decision.get("score")
    return float("nan") if score is None else float(score)


def _filled(score: FloatArray, tier: IntArray) -> FloatArray:
    """Fill in missing scores with the mean of their tier, or of all requests."""
    known = ~np.isnan(score)
    usual = float(score[known].mean()) if known.any() else 0.0
    means = [
        score[known & (tier == place)].mean() if (known & (tier == place)).any() else usual
        for place in range(len(TIERS))
    ]
    return np.where(known, score, np.array(means)[tier])


def _installed() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "(of unknown version)"
