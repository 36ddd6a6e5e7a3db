from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.errors import TrainingError
from router.forecasting.encoder import Encoding
from router.forecasting.features import Features, FeatureSpec, featurize
from router.records import Request
from router.settings.sections import Config, Training
from tests.training.logs import call, made_table, table_of
from training.learning import material
from training.learning.material import feature_spec, features_of, usable_models
from training.prompts.embeddings import StoredEncodings
from training.statistics import blocks
from training.statistics.blocks import OnDisk


def outcomes(*counts: int, rows: int = 120) -> list[list[float]]:
    """A matrix in which model i has `counts[i]` known outcomes."""
    return [[1.0 if row < count else np.nan for count in counts] for row in range(rows)]


def test_a_model_with_too_few_calls_is_left_out_with_what_it_had_and_needs() -> None:
    known = outcomes(120, 80, 7)
    table, warnings = usable_models(made_table(known, known), Config())
    assert table.models == ("a", "b")
    assert warnings == ["c is left out: 7 calls with a known outcome, 50 needed (training.min_calls)"]


def test_calls_without_an_outcome_count_for_no_model_though_another_call_of_the_prompt_has_one(
    tmp_path: Path,
) -> None:
    answered = [call(prompt=f"{row}", model=model, success=True) for row in range(60) for model in "ab"]
    unknown = [call(prompt="0", model="c") for _ in range(49)]
    table = table_of(tmp_path, *answered, call(prompt="0", model="c", success=True), *unknown)
    usable, warnings = usable_models(table, Config())
    assert (table.calls.sum(axis=0).tolist(), usable.models) == ([60, 60, 50], ("a", "b"))
    assert warnings == ["c is left out: 1 calls with a known outcome, 50 needed (training.min_calls)"]


def test_prompts_that_only_a_model_left_out_answered_go_with_it() -> None:
    known = outcomes(100, 60)
    known[110] = [np.nan, np.nan]
    table, _ = usable_models(
        made_table([[*row, 1.0] for row in known], [[*row, 1.0] for row in known]), Config()
    )
    assert len(table) == 120
    table, _ = usable_models(made_table(known, known), Config())
    assert len(table) == 100


@pytest.mark.parametrize(
    ("known", "words"),
    [
        pytest.param(outcomes(120), "at least two models.*the log has a: 120", id="one model"),
        pytest.param(outcomes(120, 49), "the log has a: 120, b: 49", id="the second has too few"),
        pytest.param(outcomes(0, 0), "no call of the log has a known outcome", id="no outcome at all"),
    ],
)
def test_fewer_than_two_usable_models_are_refused(known: list[list[float]], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        usable_models(made_table(known, known), Config())


def test_too_few_prompts_are_refused() -> None:
    known = outcomes(40, 40, rows=40)
    with pytest.raises(TrainingError, match="40 prompts have a known outcome, at least 50 are needed"):
        usable_models(made_table(known, known), Config(training=Training(min_calls=10)))


def test_only_tags_that_are_frequent_become_features() -> None:
    table = made_table(outcomes(60, 60, rows=60), outcomes(60, 60, rows=60))
    requests = [Request.of("hi", tags=["often", f"once {row}"]) for row in range(60)]
    spec = feature_spec(replace(table, requests=requests))
    assert spec.tags == ("often",)


def test_the_most_frequent_task_types_become_features_and_ties_go_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(material, "MOST_TASK_TYPES", 3)
    table = made_table(outcomes(60, 60, rows=60), outcomes(60, 60, rows=60))
    types = ["z"] * 30 + ["y"] * 20 + ["c", "a", "b"] + [None] * 7
    requests = [Request.of("hi", task_type=name) for name in types]
    assert feature_spec(replace(table, requests=requests)).task_types == ("a", "y", "z")


def test_the_features_of_encodings_on_disk_are_those_of_encodings_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = FeatureSpec(task_types=("one", "two"), tags=("urgent",), gram_dimensions=16)
    requests = [
        Request.of(f"what is {row}", task_type=("one", "two", None)[row % 3], tags=["urgent"] * (row % 2))
        for row in range(50)
    ]
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    encodings = [Encoding(vector, row) for row, vector in enumerate(vectors)]
    whole = featurize(requests, encodings, spec)
    monkeypatch.setattr(blocks, "AT_ONCE", 20)
    monkeypatch.setattr(blocks, "BLOCK", 7)
    large = features_of(requests, StoredEncodings(vectors=OnDisk.of([vectors]), tokens=np.arange(50)), spec)
    assert isinstance(large.grams, OnDisk)
    for name in Features.__slots__:
        np.testing.assert_array_equal(getattr(large, name), getattr(whole, name))
