from __future__ import annotations

import numpy as np
import pytest

from training.statistics import blocks
from training.statistics.blocks import OnDisk, evenly


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 20])
def test_blocks_cover_every_row_once_and_few_rows_are_one_block(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", 8)
    monkeypatch.setattr(blocks, "BLOCK", 3)
    parts = list(blocks.blocks(count))
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    assert (len(parts) == 1) == (count <= 8)


@pytest.mark.parametrize(("count", "most"), [(0, 3), (2, 3), (3, 3), (10, 3), (10, 1)])
def test_as_many_rows_as_allowed_are_taken_and_none_twice(count: int, most: int) -> None:
    rows = evenly(count, most).tolist()
    assert len(rows) == min(count, most) == len(set(rows))
    assert rows == sorted(rows)


def test_rows_on_disk_are_those_that_were_written_however_they_are_selected() -> None:
    whole = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    stored = OnDisk.of([whole[:20], whole[20:20], whole[20:]])
    odd, few = np.arange(1, 50, 2), np.array([4, 0, 4])
    assert (stored.shape, len(stored[odd])) == ((50, 3), 25)
    np.testing.assert_array_equal(stored, whole)
    np.testing.assert_array_equal(stored[odd][few], whole[odd][few])
    np.testing.assert_array_equal(
        np.hstack([stored[odd][3:9], stored[2:8]]), np.hstack([whole[odd][3:9], whole[2:8]])
    )
