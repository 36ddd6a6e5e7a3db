from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from router.errors import RouterError
from tests.services.runtime_log import record, write_log
from training.dashboard.kept import KeptCells
from training.dashboard.pages import Site, dashboard_page
from training.dashboard.query import Query
from training.dashboard.registered import RegisteredRouter
from training.tracking.publish import RunRecord, publish
from training.tracking.versions import CHAMPION, RouterRegistry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RouterRegistry:
    """A router named support with two versions, of which the second was left again."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "manifest.json").write_text("{}", encoding="utf-8")
    client = MlflowClient(tracking_uri=uri)
    registry = RouterRegistry(uri)
    for number, policy in enumerate(("policy-one", "policy-two"), start=1):
        run_id = publish(
            tmp_path / "router", RunRecord(params={"policy_version": policy}, metrics={}), uri
        ).run_id
        if number == 1:
            client.create_registered_model("support")
        source = f"{client.get_run(run_id).info.artifact_uri}/router"
        client.create_model_version("support", source, run_id, await_creation_for=0)
        registry.move("support", CHAMPION, str(number), seen=registry.pointed("support", CHAMPION))
    registry.rollback("support")
    registry.tag("support", "1", {"recommendation": "deploy_with_weight"})
    registry.tag("support", "2", {"watch.reasons": "<b>succeeds on 60 %, forecast 80 %</b>"})
    return registry


def test_versions_of_the_log_are_found_in_the_registry(registry: RouterRegistry, tmp_path: Path) -> None:
    calls = [record(f"c-{policy}", policy_version=policy) for policy in ("policy-one", "policy-two", "rules")]
    url = write_log(tmp_path / "calls.db", *calls)
    site = Site(kept=KeptCells(url, None, UTC), router=RegisteredRouter(registry, "support"))
    page = dashboard_page(site, Query(days=None))
    assert "version 1 @<bdi>champion</bdi>" in page
    assert "deploy with weight" in page
    assert "&lt;b&gt;succeeds on 60 %, forecast 80 %&lt;/b&gt;" in page
    assert "moved back to version <bdi>1</bdi> from <bdi>2</bdi>" in page
    assert "pointsman versions <bdi>support</bdi>" in page


def test_a_page_without_a_router_asks_no_registry(tmp_path: Path) -> None:
    url = write_log(tmp_path / "calls.db", record())
    assert "In the registry" not in dashboard_page(Site(kept=KeptCells(url, None, UTC)), Query())


def test_a_registry_that_stops_answering_leaves_what_it_said_and_says_so(
    registry: RouterRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = RegisteredRouter(registry, "support")
    before = router.said()
    registry.tracking_uri = "http://127.0.0.1:1"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert router.said() is before, "it counts for a minute"
    monkeypatch.setattr("training.dashboard.registered.FRESH_S", 0.0)
    later = router.said()
    assert (later.versions, later.moves) == (before.versions, before.moves)
    assert "MLflow at http://127.0.0.1:1" in later.problem


def test_an_unknown_name_is_an_error_before_the_first_page(registry: RouterRegistry) -> None:
    with pytest.raises(RouterError, match="nothing"):
        RegisteredRouter(registry, "nothing").ask()
