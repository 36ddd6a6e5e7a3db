"""Routers made by earlier code load and decide as they did: artifact formats 1 and 2, an MLflow version.

`kept/` holds them, trained with a static encoder whose table is cut to about 1,600 tokens to keep it small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from router import Router

KEPT = Path(__file__).with_name("kept")
LOGGED_MODEL = KEPT / "mlflow_version"
REQUESTS = [json.loads(line) for line in (KEPT / "requests.jsonl").read_text("utf-8").splitlines()]


def decisions_kept(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (KEPT / f"{name}.jsonl").read_text("utf-8").splitlines()]


def ask(router: Router, request: dict[str, Any]) -> dict[str, object]:
    options = {name: value for name, value in request.items() if name not in {"prompt", "messages"}}
    return router.route(request["prompt" if "prompt" in request else "messages"], **options).to_json()


def about(decision: dict[str, object]) -> object:
    """The decision, its numbers to five digits: another machine's arithmetic may differ in the last ones."""
    return json.loads(json.dumps(decision), parse_float=lambda text: float(f"{float(text):.5g}"))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param(KEPT / "format_1", "format_1", id="format 1"),
        pytest.param(LOGGED_MODEL / "artifacts" / "router", "format_2", id="format 2"),
    ],
)
def test_a_router_of_an_earlier_format_decides_as_it_did(folder: Path, name: str) -> None:
    router = Router.load(folder)
    made = [ask(router, request) for request in REQUESTS]
    assert [about(one) for one in made] == [about(one) for one in decisions_kept(name)]


def test_a_model_logged_by_earlier_code_decides_as_it_did() -> None:
    import pandas as pd  # type: ignore[import-untyped]

    model = mlflow.pyfunc.load_model(str(LOGGED_MODEL))
    made = model.predict(pd.DataFrame(REQUESTS))
    assert [about(one) for one in made] == [about(one) for one in decisions_kept("format_2")]


def test_a_version_registered_by_earlier_code_is_loaded_by_its_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    previous = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model("kept")
    version = client.create_model_version("kept", source=LOGGED_MODEL.as_uri())
    client.set_registered_model_alias("kept", "champion", version.version)
    try:
        router = Router.load("models:/kept@champion")
    finally:
        mlflow.set_tracking_uri(previous)
    with router:
        assert about(ask(router, REQUESTS[0])) == about(decisions_kept("format_2")[0])
