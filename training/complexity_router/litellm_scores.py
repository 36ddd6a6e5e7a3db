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
"""LiteLLM's own, from easy to hard."""
WORTH_A_PROCESS = 10_000
"""Requests from which a further process, which takes seconds to import LiteLLM, saves time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierScores:
    """What one of LiteLLM's classifiers makes of n requests.

    Attributes:
        tier: shape (n,); place in `TIERS`.
        score: shape (n,); higher is harder. Of v1 its weighted score, of v2 the chance that the SIMPLE tier
            fails; where LiteLLM decided without one, the mean over the requests of the same tier.
    """

    tier: IntArray
    score: FloatArray


def litellm_scores(requests: Sequence[Request]) -> tuple[dict[str, TierScores], list[str]]:
    """Tiers and scores by `V1` and `V2`, and a sentence for each that can't be had.

    Each request passes LiteLLM's routing hook as the proxy calls it: it picks the last turn of the user's and
    the system text by itself. Nothing is called and nothing is downloaded. With 1.106.2 on one core a request
    of 265 characters takes about 0.1 ms by v1 and 0.2 ms by v2.
    """
    found: dict[str, TierScores] = {}
    missing = []
    for name, settings in SETTINGS.items():
        try:
            found[name] = tier_scores(settings, requests)
        except (MissingExtra, ImportError):
            missing.append(f"{name} is left out: LiteLLM is not installed, or has no complexity router")
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # other than the one that we know
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            missing.append(f"{name} is left out: LiteLLM {_installed()} does not take our call ({reason})")
    return found, missing


def tier_choices(scores: TierScores, tiers: HeuristicModels, models: Sequence[str]) -> IntArray:
    """The column of each request's tier: SIMPLE is cheap, MEDIUM middle, COMPLEX and REASONING strong.

    Args:
        models: names of the columns.

    Returns:
        Shape (n,); -1 where the tier's model is none of them.
    """
    place = {model: column for column, model in enumerate(models)}
    named = (tiers.cheap, tiers.middle, tiers.strong, tiers.strong)
    columns = np.array([place.get(model, NO_CHOICE) for model in named], dtype=np.int64)
    return np.asarray(columns[scores.tier])


def tier_scores(settings: Mapping[str, Json], requests: Sequence[Request]) -> TierScores:
    """What LiteLLM's complexity router makes of each request, with these `complexity_router_config` settings.

    Raises:
        MissingExtra: LiteLLM is not installed.
        ImportError, ValueError: it has no complexity router, or does not take the settings.
    """
    jobs = max(1, min(os.cpu_count() or 1, len(requests) // WORTH_A_PROCESS))
    parts = [requests[start::jobs] for start in range(jobs)]
    answers = Parallel(n_jobs=jobs)(delayed(_classified)(settings, part) for part in parts)
    tier = np.zeros(len(requests), dtype=np.int64)
    score = np.zeros(len(requests))
    for start, (tiers, found) in enumerate(answers):
        tier[start::jobs], score[start::jobs] = tiers, found
    return TierScores(tier=tier, score=_filled(score, tier))


def _classified(settings: Mapping[str, Json], requests: Sequence[Request]) -> tuple[list[int], list[float]]:
    """Tier and score of each request; a score that LiteLLM does not give is NaN."""
    router = _complexity_router(settings)
    # In a thread of its own, as a notebook's has an event loop already.
    with ThreadPoolExecutor(1) as worker:
        decisions = worker.submit(asyncio.run, _decisions(router, requests)).result()
    tiers = [TIERS.index(model) for model, _ in decisions]
    return tiers, [_score_of(decision) for _, decision in decisions]


def _complexity_router(settings: Mapping[str, Json]) -> Any:  # noqa: ANN401 - a class without stable types
    """LiteLLM's router with a model for each tier that bears the tier's name."""
    litellm_module()
    from litellm.router_strategy.complexity_router import ComplexityRouter

    class Quick(ComplexityRouter):
        """Looks for a keyword as it stands before matching it as a word: the same answer, sooner."""

        savings_baseline = None  # of the proxy's spend log; it would look for the proxy's models

        def _keyword_matches(self, text: str, keyword: str) -> bool:
            return keyword.lower() in text and super()._keyword_matches(text, keyword)

    tiers = {tier: tier for tier in TIERS}
    nothing: Any = None  # the proxy's models, which no rule of these classifiers asks about
    return Quick("pointsman", nothing, {**settings, "tiers": tiers})


async def _decisions(router: Any, requests: Iterable[Request]) -> list[tuple[str, Mapping[str, Json]]]:  # noqa: ANN401
    """The tier's model, and LiteLLM's record of how it came to it, for each request."""
    found = []
    for request in requests:
        given = {"tools": request.tools} if request.tools else {}
        messages = [dict(message) for message in request.messages]
        answer = await router.async_pre_routing_hook(
            model="pointsman", request_kwargs=given, messages=messages
        )
        found.append((answer.model, answer.routing_decision or {}))
    return found


def _score_of(decision: Mapping[str, Json]) -> float:
    forecast = decision.get("heuristic_v2_forecast")
    if forecast is not None:
        return 1.0 - float(forecast["probabilities"][TIERS[0]])
    score = decision.get("score")
    return float("nan") if score is None else float(score)


def _filled(score: FloatArray, tier: IntArray) -> FloatArray:
    """The scores with the mean of the tier's, or of all, where one is missing."""
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
