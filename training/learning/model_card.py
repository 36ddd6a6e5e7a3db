"""What MLflow's pages say of a training to people: a name, tags, and a description."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from router.errors.masking import without_credentials
from router.forecasting.head import Kind
from router.numbers import decimal, rate, usd_per_thousand
from router.records import Json
from training.learning.fitting import Fitted
from training.recommending import Recommendation
from training.tracking.publish import LoggedData, RunRecord


def for_people(
    record: RunRecord, manifest: Mapping[str, Json], advice: Recommendation, name: str, sources: Sequence[str]
) -> RunRecord:
    """Add what people read to the record of a training.

    Args:
        name: of the router.
        sources: the call logs.
    """
    test = manifest["metrics"].get("test", {})
    figures = {
        "success": test.get("success"),
        "cost_usd_per_1000": _thousand(test.get("cost_usd")),
        "best_single_success": test.get("best_single_success"),
        "best_single_cost_usd_per_1000": _thousand(test.get("best_single_cost_usd")),
    }
    known = {figure: value for figure, value in figures.items() if value is not None}
    tags = {figure: f"{value:.4g}" for figure, value in known.items() if not figure.startswith("best_single")}
    tags |= {"recommendation": advice.code, "policy_version": manifest["policy_version"]}
    return replace(
        record,
        name=name,
        metrics={**record.metrics, **{f"summary/{figure}": value for figure, value in known.items()}},
        tags={**record.tags, **tags},
        version_tags=tags,
        card=partial(model_card, manifest, advice),
        data=LoggedData(
            name=", ".join(without_credentials(source) for source in sources)[:500],
            digest=manifest["data"]["digest"],
            calls=manifest["data"]["calls"],
        ),
    )


def _thousand(usd: float | None) -> float | None:
    return None if usd is None else usd * 1000


def model_card(manifest: Mapping[str, Json], advice: Recommendation, address: str) -> str:
    """Describe a router in Markdown: what to do with it, what it is worth, and how to load it.

    Args:
        address: that `Router.load` takes.
    """
    data, split = manifest["data"], manifest["split"]
    return "\n".join(
        [
            f"**{advice.sentence}**",
            "",
            f"Next: `{advice.next}`",
            "",
            *_worth(manifest),
            f"Trained {manifest['created'][:10]} on {data['calls']:,} calls of {data['prompts']:,} prompts "
            f"({split['train'] + split['validation']:,} to fit and choose on, {split['test']:,} to test on), "
            f"data digest `{data['digest'][:12]}`. Models: {', '.join(manifest['models'])}.",
            "",
            *how_to_load(address),
        ]
    )


def how_to_load(address: str) -> tuple[str, ...]:
    """The lines of Markdown that load a router from its address."""
    return ("```python", "from pointsman import Router", "", f'router = Router.load("{address}")', "```")


def estimator_card(kind: Kind, fitted: Fitted, address: str) -> str:
    """Describe an estimator that was not published in Markdown: why not, and what it scored.

    Args:
        address: of the router that was published instead.
    """
    names = {"decision_value": "value", "brier": "Brier score", "calibration_error": "calibration error"}
    scores = {name: fitted.candidates[name].validation for name in (kind, fitted.published)}
    rows = [
        f"| {words} | " + " | ".join(decimal(score.get(key, math.nan), 4) for score in scores.values()) + " |"
        for key, words in names.items()
    ]
    return "\n".join(
        [
            f"**Not published:** the estimator `{kind}`. `{fitted.published}` was published instead, because "
            f"{fitted.why}.",
            "",
            "| validation part | " + " | ".join(scores) + " |",
            "|---|---:|---:|",
            *rows,
            "",
            f"There is nothing to load here; the router is `{address}`.",
        ]
    )


def _worth(manifest: Mapping[str, Json]) -> list[str]:
    """Success and cost on the test part as a table; nothing without a test part."""
    test = manifest["metrics"].get("test")
    if not test:
        return []
    best = manifest["policy"]["best_single"]
    estimated = (
        f", {rate(test['filled_in'])} of the outcomes estimated by the router" if test["filled_in"] else ""
    )
    return [
        f"| test part: {decimal(test['prompts'], 0)} prompts{estimated} | success | cost per 1,000 calls |",
        "|---|---:|---:|",
        f"| this router | {rate(test['success'])} | {usd_per_thousand(test['cost_usd'])} |",
        f"| best single model on it (in training: {best}) | {rate(test['best_single_success'])} "
        f"| {usd_per_thousand(test['best_single_cost_usd'])} |",
        "",
    ]
