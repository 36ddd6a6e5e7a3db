"""What every router and every other policy does on the compared prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from router.deciding.decide import Case
from router.deciding.rules import complexity_score, whole_text
from router.forecasting.encoder import Encoding
from router.forecasting.features import Features
from router.records import FloatArray, IntArray
from router.version import Version
from training.comparing.estimating.logged import Logged
from training.comparing.estimating.off_policy import Study, study_of
from training.comparing.evaluated import Contender, Evaluated, Provenance
from training.comparing.job import CompareJob
from training.comparing.policies.baselines import (
    ALL_CHEAP,
    HEURISTIC,
    ORACLE,
    RANDOM,
    RULES,
    Baselines,
    baselines_on,
    default_heuristic_models,
    random_shares,
    rule_table,
)
from training.comparing.policies.neighbours import NEIGHBOURS, neighbour_choice
from training.comparing.policies.own_policies import own_policies
from training.comparing.policies.paced import PACED, paced
from training.complexity_router.litellm_scores import litellm_scores, tier_choices
from training.learning.router_folder import runner_up_of
from training.learning.training_means import statistics_of
from training.progress import Reporter
from training.prompts.from_logs import encodings_of
from training.prompts.labels import cheapest_success
from training.prompts.table import PromptTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDecisions:
    """One router on the evaluated prompts, in the columns of all models compared.

    Attributes:
        features: of the prompts, as its head sees them.
        probability: shape (n, m); NaN in the columns of models that it does not know.
        expected_cost: shape (n, m); USD, NaN as in `probability`.
        choice: shape (n,); column of its final choice.
        source: what decided each row.
        confidence: shape (n,).
        cases: makes what each decision depends on.
    """

    version: Version
    features: Features
    cases: Callable[[], Iterator[Case]]
    probability: FloatArray
    expected_cost: FloatArray
    choice: IntArray
    source: Sequence[str]
    confidence: FloatArray

    def contender(self, name: str) -> Contender:
        """The router as a policy to compare with the judged one."""
        return Contender(
            name=name,
            kind="other router",
            choice=self.choice,
            probability=self.probability,
            expected_cost=self.expected_cost,
        )


def evaluate(
    table: PromptTable,
    exact: bool,
    provenance: Provenance,
    job: CompareJob,
    reporter: Reporter,
    requests_per_day: float = math.nan,
) -> Evaluated:
    """What every router and every other policy does on the prompts of a table.

    Args:
        table: with all models of the log, which may be more than the routers choose among.
        exact: every model's outcome is known on every prompt; else scores stand in for outcomes.
        requests_per_day: of the whole traffic, for a budget of a day; NaN is unknown.
    """
    models = job.models()
    judgements = _judgements(table, models, job, reporter)
    judged = judgements[job.judged_name]
    study = None if exact else study_of(Logged.of(table, models), covariates(judged), seed=job.draws.seed)
    known = table.columns(models)
    success = known.success if study is None else np.nan_to_num(study.success.scores)
    cost = known.cost if study is None else _scored_costs(study)
    heuristics, scores, unavailable = _litellm(known, job.judged)
    at_pace, spend = paced(judged.version, judged.cases, known.times, cost, requests_per_day)
    own, notes = own_policies(
        job.policies, known, taken={*judgements, PACED, *(one.name for one in heuristics)}
    )
    return Evaluated(
        models=models,
        keys=known.keys,
        requests=known.requests,
        clusters=known.groups,
        traffic=1.0 / known.drawn if study is None else study.logged.traffic,
        success=success,
        cost=cost,
        study=study,
        probability=judged.probability,
        expected_cost=judged.expected_cost,
        choice=judged.choice,
        source=judged.source,
        confidence=judged.confidence,
        baselines=_baselines(known, judged, success, cost, exact=exact),
        others=[
            *([at_pace] if at_pace else []),
            *(one.contender(name) for name, one in judgements.items() if name != job.judged_name),
            *own,
            *heuristics,
            Contender(name=RANDOM, kind="baseline", shares=random_shares(len(known), len(models))),
        ],
        scores=scores,
        provenance=replace(provenance, warnings=(*provenance.warnings, *spend, *notes, *unavailable)),
    )


def _judgements(
    table: PromptTable, models: Sequence[str], job: CompareJob, reporter: Reporter
) -> dict[str, RouterDecisions]:
    """Every router, and its runner-up if it has one, by name."""
    judgements: dict[str, RouterDecisions] = {}
    for name, version in job.routers.items():
        encodings, _ = encodings_of(table, version.encoder, job.reading.cache, reporter)
        features = version.features(table.requests, encodings)
        judgements[name] = _judgement(version, features, encodings, table, models)
        runner_up = runner_up_of(version)
        if runner_up is not None:
            title = f"{runner_up.head.kind} estimator" + ("" if name == job.judged_name else f" of {name}")
            judgements[title] = _judgement(runner_up, features, encodings, table, models)
    return judgements


def _judgement(
    version: Version,
    features: Features,
    encodings: Sequence[Encoding],
    table: PromptTable,
    models: Sequence[str],
) -> RouterDecisions:
    forecast = version.forecast_from(features)
    decisions = version.decisions(table.requests, forecast, encodings)
    place = {model: column for column, model in enumerate(models)}
    columns = [place[model] for model in version.models]

    def widened(values: FloatArray) -> FloatArray:
        wide = np.full((len(table), len(models)), np.nan)
        wide[:, columns] = values
        return wide

    return RouterDecisions(
        version=version,
        features=features,
        cases=partial(version.cases, table.requests, forecast, encodings),
        probability=widened(forecast.probability),
        expected_cost=widened(forecast.cost),
        choice=np.array([place[decision.model] for decision in decisions], dtype=np.int64),
        source=[decision.source for decision in decisions],
        confidence=np.array([decision.confidence for decision in decisions], dtype=np.float64),
    )


def covariates(judged: RouterDecisions) -> FloatArray:
    """What outcomes, costs and the logging policy's choice may depend on, shape (n, p), finite.

    The router was fitted on other prompts, so its forecasts may be regressors in every fold.
    """
    known = np.isfinite(judged.expected_cost).all(axis=0)
    costs = judged.expected_cost[:, known]
    forecast = judged.probability[:, np.isfinite(judged.probability).all(axis=0)]
    task_types = judged.features.labels
    return np.concatenate([forecast, costs, judged.features.structure, task_types], axis=1, dtype=np.float64)


def _scored_costs(study: Study) -> FloatArray:
    """Scores of the cost; all NaN if the log knows no model's cost."""
    unseen = study.cost.unseen
    if len(unseen) == len(study.logged.models):
        return np.full(study.logged.calls.shape, np.nan)
    return np.nan_to_num(study.cost.scores)


def _baselines(
    table: PromptTable, judged: RouterDecisions, success: FloatArray, cost: FloatArray, *, exact: bool
) -> Baselines:
    """The baselines of the judged router's training log; the oracle only if outcomes are known."""
    version = judged.version
    own = len(version.models)
    statistics = statistics_of(version.manifest)
    baselines = baselines_on(
        statistics,
        texts=[whole_text(request) for request in table.requests],
        task_types=[request.task_type for request in table.requests],
        success=success[:, :own],
        cost=cost[:, :own],
        heuristic=version.config.rules.heuristic,
    )
    choices = dict(baselines.choices)
    if not exact:
        del choices[ORACLE]
    elif success.shape[1] > own:
        label = cheapest_success(table).label
        choices[ORACLE] = np.where(label >= 0, label, choices[ALL_CHEAP])
    ruled = rule_table(table.requests, version.config.rules, version.policy.best_single, version.models)
    if ruled is not None:
        choices[RULES] = ruled
    near = neighbour_choice(version, judged.features)
    if near is not None:
        choices[NEIGHBOURS] = near
    return Baselines(
        choices=choices,
        task_probability=_widened(baselines.task_probability, success.shape[1]),
        task_cost=_widened(baselines.task_cost, success.shape[1]),
    )


def _widened(values: FloatArray, n_columns: int) -> FloatArray:
    """The matrix with NaN in the columns of models that the judged router does not know."""
    return np.pad(values, ((0, 0), (0, n_columns - values.shape[1])), constant_values=np.nan)


def _litellm(
    table: PromptTable, version: Version
) -> tuple[list[Contender], dict[str, FloatArray], list[str]]:
    """LiteLLM's complexity routers as policies, their scores with the keyword score, and what is missing."""
    scores, missing = litellm_scores(table.requests)
    tiers = version.config.rules.heuristic or default_heuristic_models(statistics_of(version.manifest))
    policies = (
        []
        if tiers is None
        else [
            Contender(name=name, kind="baseline", choice=tier_choices(one, tiers, table.models))
            for name, one in scores.items()
        ]
    )
    keywords = np.array([complexity_score(whole_text(request)) for request in table.requests])
    return policies, {HEURISTIC: keywords, **{name: one.score for name, one in scores.items()}}, missing
