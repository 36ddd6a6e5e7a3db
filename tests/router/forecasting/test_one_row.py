from __future__ import annotations

import numpy as np
import pytest

from router.forecasting.head import NeighbourStore, unit
from router.forecasting.one_row import FEW, THREADED, THREADED_TOGETHER, Blocks, block_height, products


@pytest.mark.parametrize("dimensions", [1, 3, 64, 128, 384, THREADED - 1])
def test_a_block_is_as_high_as_stays_below_what_openblas_shares_out(dimensions: int) -> None:
    height = block_height(dimensions)
    assert height * dimensions < THREADED <= (height + 1) * dimensions


@pytest.mark.parametrize("dimensions", [3, 64, 128, 384, 20_000])
@pytest.mark.parametrize("vectors", [2, 7, FEW])
def test_a_block_for_a_few_vectors_is_below_what_openblas_shares_out(dimensions: int, vectors: int) -> None:
    height = block_height(dimensions, vectors)
    assert height == 1 or height * dimensions * vectors < THREADED_TOGETHER


@pytest.mark.parametrize("dimensions", [3, 64, 128, 20_000])
@pytest.mark.parametrize("count", [0, 1, 71, 142, 143, 144, 1_001])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (FEW,)])
def test_blocks_give_the_plain_product(count: int, dimensions: int, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(count).normal
    rows = unit(draw(size=(count, dimensions)).astype(np.float32))
    vector = unit(draw(size=(FEW, dimensions)).astype(np.float32)).T
    vector = vector[:, : shape[0]] if shape else np.ascontiguousarray(vector[:, 0])
    found = products(rows, vector)
    assert found.shape == (count, *shape)
    assert found.dtype == np.dtype(np.float32)
    np.testing.assert_allclose(found, rows @ vector, atol=1e-6)


@pytest.mark.parametrize("dimensions", [3, 64, 128, 20_000])
@pytest.mark.parametrize("count", [0, 1, 71, 142, 143, 144, 1_001])
def test_rows_cut_into_blocks_once_give_the_plain_product(count: int, dimensions: int) -> None:
    draw = np.random.default_rng(count).normal
    rows = unit(draw(size=(count, dimensions)).astype(np.float32))
    vector = unit(draw(size=(1, dimensions)).astype(np.float32))[0]
    np.testing.assert_allclose(Blocks(rows)(vector), rows @ vector, atol=1e-6)
    assert Blocks(rows)(vector).shape == (count,)


def test_rows_in_another_order_give_the_plain_product() -> None:
    rows = np.asfortranarray(np.random.default_rng(7).normal(size=(300, 64)).astype(np.float32))
    np.testing.assert_allclose(products(rows, rows[0]), rows @ rows[0], atol=1e-4)


def test_one_prompt_has_the_cosines_that_it_has_among_many() -> None:
    draw = np.random.default_rng(7).normal
    points = unit(draw(size=(500, 64)).astype(np.float32))
    store = NeighbourStore(
        axes=draw(size=(90, 64)).astype(np.float32),
        points=points,
        values=np.zeros((500, 2), dtype=np.float32),
        seen=np.zeros((500, 2), dtype=np.float32),
    )
    inputs = draw(size=(5, 90)).astype(np.float32)
    one_by_one = np.vstack([store.cosines(inputs[[row]]) for row in range(5)])
    np.testing.assert_allclose(one_by_one, store.cosines(inputs), atol=1e-6)
