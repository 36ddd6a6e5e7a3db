"""Whether the published estimator falls behind a simple learner: small logs and large, many models and two.

    python -m benchmarks.learners [--data FOLDER] [--sizes 300,700,3000,0] [--draws 5] [--only NAME] [--tasks]

From each data set prompts are drawn to train on, `sizes` of them (0: four fifths of all), and others to judge
on; every learner gets the same. Only their chances of success differ: the expected costs are the router's.

Decision value is success less cost, averaged over the stakes that training uses (`thresholds.STAKES`), times
1,000; where costs are unknown, a call of the best model counts 1 and any other 0. Pair AUC is the mean over
pairs of models of the AUC of p_a - p_b, on the prompts where exactly one of the two succeeded.

With `--tasks`, the logs lose their task types, and training on inferred ones is compared with none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from rich.console import Console

from benchmarks.quality import POOL, PUBLIC, SAMPLE, Dataset, load, machine
from router.forecasting.encoder import Encoder, Encoding, load_encoder
from router.forecasting.head import SHARPNESS, narrow_inputs, wide_inputs
from router.models.prices import PriceTable
from router.records import Float32Array, FloatArray, IntArray
from router.settings.sections import Config, Training
from training.learning.fitting import Fitted, fit
from training.learning.heads import structure_scaling
from training.learning.material import Material, material_of, with_task_types
from training.learning.thresholds import Backtest, decision_value
from training.prompts.encoder_export import encoder_info, prepared_encoder
from training.prompts.from_logs import EMBEDDINGS
from training.prompts.split import split_groups
from training.prompts.table import PromptTable
from training.prompts.task_groups import fit_groups
from training.statistics.auc import auc

SHARE = 0.8
MOST_JUDGED = 1_500
PRIOR = 2.0
"""Prompts that the belief "a model does as well as on all prompts" is worth in a group's or task's mean."""
SETS = (
    *(dataset for dataset in PUBLIC if "trained on all" not in dataset.name),
    Dataset(
        name="mmlu_pro, pool of 9",
        file="mmlu_pro.parquet",
        models=(
            *POOL,
            "Mistral-7B-Instruct-v0.1",
            "Qwen1.5-7B-Chat",
            "Yi-6b-Chat",
            "c4ai-command-r-v01",
            "jamba-1.5-large",
        ),
    ),
)
console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Prompts to learn from and others to judge on.

    Attributes:
        learnt, held: the prompts with their features.
        rows: shape (n_held,); row of each held prompt in the whole table.
        encodings: of both.
        seed: of the draw, and of the split into training and validation.
        published: what training publishes on `learnt`.
        expected_cost: shape (n_held, n_models); by the published head.
    """

    learnt: Material
    held: Material
    encodings: tuple[Sequence[Encoding], Sequence[Encoding]]
    seed: int
    rows: IntArray
    published: Fitted
    expected_cost: FloatArray

    @property
    def outcome(self) -> FloatArray:
        """Outcomes to learn from, shape (n_learnt, n_models)."""
        return self.learnt.table.success

    def backtest(self, probability: FloatArray) -> Backtest:
        """A learner's forecasts beside the outcomes of the held prompts."""
        table = self.held.table
        cost = table.cost if np.isfinite(table.cost).all() else self.expected_cost
        return Backtest.of(probability, self.expected_cost, table.success, cost)


Learner = Callable[[Drawn], FloatArray]
"""Chance of success on each held prompt, shape (n_held, n_models)."""


def draw(table: PromptTable, encodings: Sequence[Encoding], size: int, seed: int, config: Config) -> Drawn:
    """Draw `size` prompts, whole sessions at a time, train on them, and hold others."""
    names, session = np.unique(table.groups, return_inverse=True)
    order = np.argsort(np.random.default_rng([seed, size]).permutation(len(names))[session], kind="stable")
    inner = np.sort(order[: size or round(SHARE * len(table))])
    outer = order[~np.isin(session[order], session[inner])][:MOST_JUDGED]
    texts = [[encodings[row] for row in rows.tolist()] for rows in (inner, outer)]
    learnt = material_of(table.rows(inner), texts[0], config)
    held = material_of(table.rows(outer), texts[1], config, learnt.spec)
    published = _trained(learnt, seed)
    return Drawn(
        learnt=learnt,
        held=held,
        encodings=(texts[0], texts[1]),
        seed=seed,
        rows=outer,
        published=published,
        expected_cost=_expected(published, learnt, held),
    )


def _trained(material: Material, seed: int) -> Fitted:
    """Train on all prompts but the validation part's."""
    groups, share = material.table.groups, material.config.training.validation_share
    unknown = np.full(len(groups), np.nan)
    return fit(material, split_groups(groups, unknown, validation_share=share, test_share=0.0, seed=seed))


def _expected(published: Fitted, learnt: Material, held: Material) -> FloatArray:
    """Expected costs of the held prompts; without prices, 1 for the best model, 0 for others."""
    outlook = published.head.predict(held.features)
    prices = PriceTable.of([learnt.prices[model] for model in learnt.table.models])
    cost = prices.expected_cost(outlook.input_tokens, outlook.output_tokens)
    if np.isfinite(cost).all() and cost.any():
        return cost
    strong = np.arange(cost.shape[1]) == np.nanmean(learnt.table.success, axis=0).argmax()
    return np.tile(strong.astype(np.float64), (len(cost), 1))


def published(drawn: Drawn) -> FloatArray:
    """What `pointsman train` publishes."""
    return drawn.published.head.predict(drawn.held.features).probability


def with_inferred_tasks(drawn: Drawn, encoder: Encoder, cache: Path) -> FloatArray:
    """What training publishes if it infers the task types."""
    table, config = drawn.learnt.table, drawn.learnt.config
    groups = fit_groups(table.requests, encoder, cache, (), config.training.seed)
    pairs = zip((table, drawn.held.table), drawn.encodings, strict=True)
    learnt, held = (with_task_types(*pair, groups, encoder.info.sha256) for pair in pairs)
    material = material_of(learnt, drawn.encodings[0], config)
    asked = material_of(held, drawn.encodings[1], config, material.spec)
    return _trained(material, drawn.seed).head.predict(asked.features).probability


def neighbours(drawn: Drawn, count: int, *, weighted: bool) -> FloatArray:
    """Mean outcomes of the nearest prompts by the embedding."""
    cosine = drawn.held.features.embedding @ drawn.learnt.features.embedding.T
    near = np.argsort(-cosine, axis=1)[:, :count]
    close = np.take_along_axis(cosine, near, axis=1).astype(np.float64)
    weight = np.exp(SHARPNESS * close) if weighted else np.ones_like(close)
    return np.asarray(np.einsum("nk,nkm->nm", weight, drawn.outcome[near]) / weight.sum(axis=1)[:, None])


def regression(drawn: Drawn, inputs: Callable[[Material], Float32Array], c: float) -> FloatArray:
    """A logistic regression a model."""
    from sklearn.linear_model import LogisticRegression

    learnt, held = inputs(drawn.learnt), inputs(drawn.held)
    columns = []
    for succeeded in drawn.outcome.T >= 0.5:
        if succeeded.all() or not succeeded.any():
            columns.append(np.full(len(held), float(succeeded[0])))
            continue
        fitted = LogisticRegression(C=c, max_iter=300).fit(learnt, succeeded)
        columns.append(fitted.predict_proba(held)[:, 1])
    return np.stack(columns, axis=1)


def forest(drawn: Drawn) -> FloatArray:
    """A random forest on the router's features."""
    from sklearn.ensemble import RandomForestRegressor

    grown = RandomForestRegressor(100, min_samples_leaf=5, max_features="sqrt", random_state=0)
    own = own_features(drawn)
    return np.asarray(grown.fit(own(drawn.learnt), drawn.outcome).predict(own(drawn.held)))


def group_means(drawn: Drawn, learnt: IntArray, held: IntArray) -> FloatArray:
    """Mean outcomes by group, shrunk to those of all prompts; group -1 has these."""
    overall = drawn.outcome.mean(axis=0)
    member = np.arange(max(learnt.max(initial=-1), held.max(initial=-1)) + 1) == learnt[:, None]
    means = (member.T @ drawn.outcome + PRIOR * overall) / (member.sum(axis=0)[:, None] + PRIOR)
    return np.asarray(np.vstack([means, overall])[held])


def clusters(drawn: Drawn, count: int = 32) -> FloatArray:
    """Mean outcomes by k-means cluster of the embedding."""
    from sklearn.cluster import KMeans

    means = KMeans(min(count, len(drawn.outcome)), n_init=1, random_state=0)
    learnt = means.fit_predict(drawn.learnt.features.embedding)
    return group_means(drawn, learnt, means.predict(drawn.held.features.embedding))


def embedding(material: Material) -> Float32Array:
    """The embedding alone."""
    return material.features.embedding


def own_features(drawn: Drawn) -> Callable[[Material], Float32Array]:
    """The router's narrow inputs, scaled as on the prompts to learn from."""
    scaling = structure_scaling(drawn.learnt.features)
    return lambda material: narrow_inputs(material.features, scaling)


def all_features(drawn: Drawn) -> Callable[[Material], Float32Array]:
    """The router's wide inputs, with n-grams."""
    scaling = structure_scaling(drawn.learnt.features)
    return lambda material: wide_inputs(material.features, scaling)


LEARNERS: Mapping[str, Learner] = {
    "kNN 200": lambda drawn: neighbours(drawn, 200, weighted=False),
    "kNN 400 weighted": lambda drawn: neighbours(drawn, 400, weighted=True),
    "LR": lambda drawn: regression(drawn, embedding, 1.0),
    "LR own features": lambda drawn: regression(drawn, own_features(drawn), 1.0),
    "forest": forest,
    "k-means 32": clusters,
    "task means": lambda drawn: group_means(
        drawn, drawn.learnt.features.task_type, drawn.held.features.task_type
    ),
}


def pair_auc(probability: FloatArray, success: FloatArray) -> float:
    """Mean over pairs of models of the AUC of p_a - p_b where exactly one of the two succeeded."""
    right = success >= 0.5
    areas = []
    for a, b in combinations(range(success.shape[1]), 2):
        one = right[:, a] != right[:, b]
        areas.append(auc(probability[one, a] - probability[one, b], right[one, a]))
    return float(np.nanmean(areas))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One learner on one draw: the decision value of each held prompt, shape (n_held,), and its pair AUC."""

    rows: IntArray
    value: FloatArray
    pair_auc: float


def judge(drawn: Drawn, learner: Learner) -> Judged:
    """Judge a learner on the held prompts."""
    probability = learner(drawn)
    return Judged(
        rows=drawn.rows,
        value=decision_value(drawn.backtest(probability)),
        pair_auc=pair_auc(probability, drawn.held.table.success),
    )


def ahead(one: Sequence[Judged], other: Sequence[Judged]) -> tuple[float, float]:
    """Mean difference in decision value over draws, and its standard error.

    The error adds the prompts' (each prompt's mean over the draws that held it) and the draws', and so counts
    the prompts rather twice than not at all.
    """
    gaps = [mine.value - theirs.value for mine, theirs in zip(one, other, strict=True)]
    rows, gap = np.concatenate([each.rows for each in one]), np.concatenate(gaps)
    _, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    by_prompt = np.bincount(place, gap) / count
    by_draw = np.array([each.mean() for each in gaps])
    draws = by_draw.var(ddof=1) / len(by_draw) if len(by_draw) > 1 else 0.0
    return float(by_draw.mean()), float(np.sqrt(by_prompt.var() / len(by_prompt) + draws))


def report(found: Mapping[str, Sequence[Judged]]) -> list[str]:
    """One row a learner: what the published estimator is ahead by, and both pair AUCs."""
    mine = found["published"]
    level = 1e3 * np.mean([one.value.mean() for one in mine])
    rows = [f"| published | {level:.1f} | | {np.mean([one.pair_auc for one in mine]):.3f} |"]
    for name, theirs in found.items():
        if name != "published":
            gap, error = (1e3 * figure for figure in ahead(mine, theirs))
            mark = "**" if gap + 1.96 * error < 0 else ""
            interval = f"{mark}{gap:+.1f} [{gap - 1.96 * error:+.1f}, {gap + 1.96 * error:+.1f}]{mark}"
            area = np.mean([one.pair_auc for one in theirs])
            rows.append(f"| {name} | {level - gap:.1f} | {interval} | {area:.3f} |")
    return rows


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the public call logs.")] = None,
    sizes: Annotated[
        str, typer.Option(help="Prompts to train on, comma-separated; 0: four fifths.")
    ] = "300,700,3000,0",
    draws: Annotated[int, typer.Option(min=1)] = 5,
    encoder: Annotated[str, typer.Option(help="minilm or static.")] = "minilm",
    only: Annotated[str, typer.Option(help="Part of a data set's name.")] = "",
    tasks: Annotated[bool, typer.Option("--tasks", help="Compare inferred task types with none.")] = False,
) -> None:
    """Measure and print."""
    config = Config(training=Training.model_validate({"encoder": encoder, "test_share": 0.0}))
    cache = Path(os.environ.get("POINTSMAN_CACHE") or platformdirs.user_cache_dir("pointsman"))
    folder = data or Path(__file__).parent.parent / "data"
    learners: Mapping[str, Learner] = {"published": published, **LEARNERS}
    if tasks:
        folder_of_encoder = prepared_encoder(encoder, [], cache)
        loaded = load_encoder(folder_of_encoder, encoder_info(folder_of_encoder))
        infer = partial(with_inferred_tasks, encoder=loaded, cache=cache / EMBEDDINGS)
        learners = {"published": published, "tasks inferred": infer}
    console.print(f"{machine()}; encoder {encoder}; {draws} draws.", soft_wrap=True)
    for dataset in SETS if data else SAMPLE:
        if only not in dataset.name:
            continue
        table, encodings = load(dataset, folder, config, cache)
        full = np.flatnonzero(np.isfinite(table.success).all(axis=1))
        table, encodings = table.rows(full), [encodings[row] for row in full.tolist()]
        if tasks:
            table = replace(table, requests=[replace(one, task_type=None) for one in table.requests])
        for size in (int(one) for one in sizes.split(",")):
            if size > SHARE * len(table):
                continue
            drawn = [draw(table, encodings, size, seed, config) for seed in range(draws)]
            found = {name: [judge(one, learner) for one in drawn] for name, learner in learners.items()}
            kinds = [one.published.published for one in drawn]
            trained_on = size or round(SHARE * len(table))
            console.print(
                f"\n**{dataset.name}**, {trained_on:,} prompts, {len(table.models)} models; "
                f"published: success in {kinds.count('success')} of {draws}\n\n"
                "| learner | decision value | published ahead by | pair AUC |\n|---|---|---|---|",
                *report(found),
                sep="\n",
                soft_wrap=True,
            )


if __name__ == "__main__":
    typer.run(main)
