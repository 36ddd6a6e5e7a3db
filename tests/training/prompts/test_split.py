from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import TrainingError
from router.records import IntArray
from router.settings.sections import Training
from tests.training.logs import made_table
from training.prompts.split import Split, folds, split_groups, split_prompts
from training.statistics import blocks

GROUPS = st.lists(st.integers(0, 30), min_size=3, max_size=80).filter(lambda groups: len(set(groups)) >= 3)
SEEDS = st.integers(0, 100)


def split(groups: list[int], times: list[float] | None = None, test: float = 0.2, seed: int = 0) -> Split:
    known = np.full(len(groups), np.nan) if times is None else np.array(times)
    return split_groups(np.array(groups), known, validation_share=0.2, test_share=test, seed=seed)


def groups_in(rows: IntArray, groups: list[int]) -> set[int]:
    return {groups[row] for row in rows}


@given(groups=GROUPS, seed=SEEDS, timed=st.booleans())
def test_every_row_is_in_one_part_and_no_group_in_two(groups: list[int], seed: int, timed: bool) -> None:
    parts = split(groups, [float(row) for row in range(len(groups))] if timed else None, seed=seed)
    rows = [*parts.train, *parts.validation, *parts.test]
    assert sorted(rows) == list(range(len(groups)))
    of_part = [groups_in(part, groups) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, of_part)) == len(set(groups))
    assert all(of_part)


@given(groups=GROUPS, seed=SEEDS)
def test_a_split_by_time_tests_on_what_ended_last(groups: list[int], seed: int) -> None:
    parts = split(groups, [float(row) for row in range(len(groups))], seed=seed)
    if parts.by == "time":
        ends = {group: row for row, group in enumerate(groups)}
        last = [
            [ends[group] for group in groups_in(part, groups)] for part in (parts.train, parts.validation)
        ]
        assert max(last[0]) < min(last[1])
        assert max(last[1]) < min(ends[group] for group in groups_in(parts.test, groups))


@given(groups=GROUPS, n_folds=st.integers(2, 3), seed=SEEDS)
def test_a_group_is_in_one_fold_and_no_fold_is_empty(groups: list[int], n_folds: int, seed: int) -> None:
    fold = folds(np.array(groups), n_folds, seed)
    assert len(set(zip(groups, fold.tolist(), strict=True))) == len(set(groups))
    assert set(fold.tolist()) == set(range(n_folds))


def test_the_parts_have_the_shares_asked_for() -> None:
    parts = split(list(range(1000)))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (600, 200, 200)


def test_times_decide_where_every_row_has_one() -> None:
    parts = split(list(range(10)), [float(10 - row) for row in range(10)])
    assert (parts.by, parts.test.tolist(), parts.validation.tolist()) == ("time", [0, 1], [2, 3])


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([float(row) for row in range(9)] + [np.nan], id="one is missing"),
        pytest.param([5.0] * 10, id="all the same"),
    ],
)
def test_chance_decides_where_times_cannot(times: list[float]) -> None:
    assert split(list(range(10)), times).by == "group"


def test_a_session_that_spans_the_log_is_left_to_train() -> None:
    groups = [0] * 60 + list(range(1, 41))
    times = [float(row) for row in range(100)]
    times[0] = 1000.0
    parts = split(groups, times)
    assert parts.by == "group"
    assert set(range(60)) <= set(parts.train.tolist())


def test_a_seed_gives_the_same_parts_and_folds_again() -> None:
    groups = [row // 3 for row in range(60)]
    assert split(groups, seed=1).test.tolist() == split(groups, seed=1).test.tolist()
    assert split(groups, seed=1).test.tolist() != split(groups, seed=2).test.tolist()
    assert folds(np.array(groups), 5, 1).tolist() == folds(np.array(groups), 5, 1).tolist()


def test_folds_are_even_in_rows() -> None:
    sizes = np.random.default_rng(0).integers(1, 20, 200)
    counts = np.bincount(folds(np.repeat(np.arange(200), sizes), 5, 0))
    assert counts.max() - counts.min() <= 1


def test_no_test_part_is_made_when_none_is_asked_for() -> None:
    assert len(split(list(range(10)), test=0.0).test) == 0


def test_too_few_groups_to_split_are_refused() -> None:
    with pytest.raises(TrainingError, match="4 prompts in 2 groups can't be split into 3 parts"):
        split([0, 0, 1, 1])


@pytest.mark.parametrize("test", [-0.1, 0.8, np.nan])
def test_shares_must_leave_rows_to_train_on(test: float) -> None:
    with pytest.raises(ValueError, match=r"shares must leave rows to train on, got 0\.2 and"):
        split(list(range(10)), test=test)


@pytest.mark.parametrize("n_folds", [1, 4])
def test_there_are_from_two_folds_to_one_per_group(n_folds: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to the number of groups, 3, got {n_folds}"):
        folds(np.array([0, 1, 2]), n_folds, 0)


def test_of_a_large_log_validation_and_test_take_no_more_prompts_than_choices_rest_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = made_table([[1.0]] * 300, [[1.0]] * 300)
    monkeypatch.setattr(blocks, "AT_ONCE", 20)
    parts = split_prompts(table, Training())
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [260, 20, 20]
