from __future__ import annotations

from training.learning.manifest import run_record
from training.learning.model_card import for_people, model_card
from training.pipeline import Trained


def test_the_card_says_what_to_do_what_it_is_worth_and_how_to_load_it(trained: Trained) -> None:
    card = model_card(trained.manifest, trained.recommendation, "models:/claims/2")
    assert card.startswith(f"**{trained.recommendation.sentence}**")
    assert f"Next: `{trained.recommendation.next}`" in card
    assert 'router = Router.load("models:/claims/2")' in card
    assert "| this router | 8" in card
    assert all(model in card for model in trained.manifest["models"])


def test_a_router_without_a_test_part_has_no_table(trained: Trained) -> None:
    manifest = {**trained.manifest, "metrics": {}}
    assert "| this router" not in model_card(manifest, trained.recommendation, "x")


def test_an_estimator_that_was_not_published_says_why_and_what_it_scored(trained: Trained) -> None:
    record = run_record(trained.manifest, trained.fitted, trained.report, trained.reading)
    (nested,) = record.nested.values()
    assert nested.tags["published"] == "no"
    assert nested.card is not None
    card = nested.card("runs:/1/router")
    assert f"`{trained.fitted.published}` was published instead, because {trained.fitted.why}." in card
    assert "| value | 0." in card
    assert "the router is `runs:/1/router`" in card


def test_the_record_is_tagged_and_its_data_has_no_password(trained: Trained) -> None:
    record = run_record(trained.manifest, trained.fitted, trained.report, trained.reading)
    source = "postgresql://ann:secret@db/calls"
    whole = for_people(record, trained.manifest, trained.recommendation, "claims", [source])
    test = trained.manifest["metrics"]["test"]
    assert whole.tags["recommendation"] == trained.recommendation.code
    assert whole.version_tags["success"] == f"{test['success']:.4g}"
    assert whole.metrics["summary/cost_usd_per_1000"] == test["cost_usd"] * 1000
    assert record.metrics.items() <= whole.metrics.items()
    assert whole.data is not None
    assert "secret" not in whole.data.name
