"""The records of a training run: the router's manifest and the MLflow run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from router import __version__
from router.effort import effort_in, endpoint_of
from router.forecasting.encoder import EncoderInfo
from router.loading.artifact import digest_of
from router.records import Json, has_text
from router.settings.sections import Config
from router.settings.yaml_file import routing_part, settings_text
from training.learning.figures import training_figures
from training.learning.fitting import FinalFit, Fitted
from training.learning.material import Material
from training.learning.model_card import estimator_card
from training.learning.training_means import TrainingStatistics, statistics_to_json
from training.prompts.split import Split
from training.reading.summary import ReadSummary
from training.statistics.policy_curves import picked
from training.tracking.publish import RunRecord

LIBRARIES = ("numpy", "scikit-learn", "scipy", "onnxruntime", "tokenizers", "sentence-transformers", "torch")


def manifest_of(
    material: Material,
    split: Split,
    fitted: Fitted,
    reading: ReadSummary,
    report: Mapping[str, Json],
    encoder: EncoderInfo,
) -> dict[str, Json]:
    """Put the manifest together, without the entries that `seal` adds."""
    cascade = fitted.cascade.to_json() if fitted.cascade else None
    rows = np.concatenate([split.train, split.validation])
    table = material.table.rows(rows)
    statistics = TrainingStatistics.of(
        table.models, [request.task_type for request in table.requests], table.success, table.cost
    )
    actions = {
        name: {"model": endpoint_of(name), "effort": effort}
        for name in table.models
        if (effort := effort_in(name))
    }
    return {
        "pointsman_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": list(table.models),
        **({"actions": actions} if actions else {}),
        "head": fitted.published,
        "encoder": asdict(encoder),
        "features": asdict(material.spec),
        "prices": material.logged,
        "policy": fitted.policy.to_json(),
        **({"runner_up": _runner_up_to_json(fitted.runner_up)} if fitted.runner_up else {}),
        **({"promise": guarantee_to_json(fitted)} if fitted.guarantee else {}),
        **({"cascade": cascade} if cascade else {}),
        "config": settings_text(routing_part(material.config)[0]),
        "statistics": statistics_to_json(statistics),
        "metrics": _metrics(fitted),
        "split": {
            "by": split.by,
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
        },
        "data": {
            "digest": reading.digest,
            "textless_prompts": sum(not has_text(request) for request in table.requests),
            "task_types": dict(sorted(Counter(one.task_type or "" for one in table.requests).items())),
            "stepped_aside": _stepped_aside(fitted, material.config),
            **{name: report[name] for name in ("prompts", "calls", "dominated")},
        },
        "libraries": library_versions(),
    }


def _stepped_aside(fitted: Fitted, config: Config) -> float:
    """At most the share of prompts that the rule table decides: of too little confidence or familiarity."""
    rows = fitted.backtest.choice(fitted.policy.weight)
    confidence = picked(fitted.backtest.probability, rows)
    unsure = float((confidence < fitted.policy.least_confidence).mean())
    return min(unsure + config.fallback.unfamiliar_share, 1.0)


def _runner_up_to_json(runner_up: FinalFit) -> dict[str, Json]:
    return {"head": runner_up.head.kind, "policy": runner_up.policy.to_json()}


def run_record(
    manifest: Mapping[str, Json], fitted: Fitted, report: Mapping[str, Json], reading: ReadSummary
) -> RunRecord:
    """Describe the training run for MLflow, with the estimator that was not published as a nested run."""
    nested = {
        f"{kind} (not published)": RunRecord(
            params={"estimator": kind, "regularisation": candidate.setting.value},
            metrics=_finite({"validation": candidate.validation}),
            tags={"estimator": kind, "published": "no", "pointsman_version": __version__},
            documents={"search.json": {str(key): value for key, value in candidate.searched.items()}},
            card=partial(estimator_card, kind, fitted),
        )
        for kind, candidate in fitted.candidates.items()
        if kind != fitted.published
    }
    settings = fitted.candidates[fitted.published].setting
    return RunRecord(
        params={
            "estimator": fitted.published,
            "regularisation": settings.value,
            "encoder": manifest["encoder"]["name"],
            "encoder_kind": manifest["encoder"]["kind"],
            "split": manifest["split"]["by"],
            "data_digest": manifest["data"]["digest"],
            "policy_version": manifest["policy_version"],
            **{f"policy_{name}": value for name, value in manifest["policy"].items()},
        },
        metrics={
            **_finite(manifest["metrics"]),
            **_finite({"promise": _numbers(manifest.get("promise", {}))}),
            "calls": float(reading.calls),
            "rejected_rows": float(reading.rejected),
            **{f"prompts_{part}": float(manifest["split"][part]) for part in ("train", "validation", "test")},
        },
        tags={
            "policy_version": manifest["policy_version"],
            "router_digest": digest_of(manifest),
            "pointsman_version": __version__,
        },
        figures=training_figures(fitted),
        documents={"data_report.json": report, "reading.json": asdict(reading), "manifest.json": manifest},
        nested=nested,
    )


def guarantee_to_json(fitted: Fitted) -> dict[str, Json] | None:
    """The guarantee, its grounds, and the loss on the test part; None without a guarantee.

    `test_loss` and `kept` are None if there is no test part or outcomes in it are unknown.
    """
    guarantee, test = fitted.guarantee, fitted.test
    if guarantee is None:
        return None
    known = bool(test) and not test["filled_in"] > 0
    loss = test["best_single_success"] - test["success"] if known else None
    return {
        "max_quality_loss": guarantee.max_loss,
        "confidence": guarantee.confidence,
        "weight": guarantee.weight,
        "bound": guarantee.bound,
        "calibration_prompts": guarantee.n,
        "calibration_clusters": guarantee.clusters,
        "test_prompts": int(test["prompts"]) if known else 0,
        "test_loss": loss,
        "kept": None if loss is None else loss <= guarantee.max_loss,
        "method": guarantee.method,
        "assumptions": list(guarantee.assumptions),
    }


def _numbers(values: Mapping[str, Json]) -> dict[str, float]:
    """The entries that MLflow takes as metrics."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _metrics(fitted: Fitted) -> dict[str, Json]:
    """Metrics per part; None if one is undefined."""
    parts = {
        "calibration": fitted.calibration,
        **{f"validation_{kind}": candidate.validation for kind, candidate in fitted.candidates.items()},
        "test": fitted.test,
    }
    return {
        part: {name: value if np.isfinite(value) else None for name, value in values.items()}
        for part, values in parts.items()
        if values
    }


def _finite(metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Flatten metrics for MLflow, without the undefined ones."""
    return {
        f"{part}.{name}": float(value)
        for part, values in metrics.items()
        for name, value in values.items()
        if value is not None and np.isfinite(value)
    }


def library_versions() -> dict[str, str]:
    """Versions of the installed libraries that a router's numbers depend on."""
    return {name: installed for name in LIBRARIES if (installed := _version(name))}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
