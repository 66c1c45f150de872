"""Protects the pooled planning grids: block means where sides divide, nothing lost or moved, other grids refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.errors import VisionError
from wm_core.vision.tokens import pool

SIDES = st.integers(1, 4)


@settings(max_examples=40)
@given(rows=SIDES, columns=SIDES, down=SIDES, across=SIDES, seed=st.integers(0, 99))
def test_where_sides_divide_each_token_is_the_mean_of_its_block(rows, columns, down, across, seed):
    grid = (rows * down, columns * across)
    patches = torch.randn(2, 3, grid[0] * grid[1], 5, generator=torch.Generator().manual_seed(seed))
    pooled = pool(patches, grid, (rows, columns)).reshape(2, 3, rows, columns, 5)
    full = patches.reshape(2, 3, *grid, 5)
    for row in range(rows):
        for column in range(columns):
            block = full[:, :, row * down : (row + 1) * down, column * across : (column + 1) * across]
            torch.testing.assert_close(pooled[:, :, row, column], block.mean(dim=(2, 3)), atol=1e-6, rtol=1e-5)


@settings(max_examples=40)
@given(grid=st.tuples(st.integers(1, 9), st.integers(1, 9)), data=st.data())
def test_any_smaller_grid_stays_within_what_it_averages(grid, data):
    smaller = tuple(data.draw(st.integers(1, side)) for side in grid)
    patches = torch.randn(1, grid[0] * grid[1], 3, generator=torch.Generator().manual_seed(0))
    pooled = pool(patches, grid, smaller)
    assert pooled.shape == (1, smaller[0] * smaller[1], 3)
    assert (pooled <= patches.amax(dim=1, keepdim=True) + 1e-6).all()
    assert (pooled >= patches.amin(dim=1, keepdim=True) - 1e-6).all()
    torch.testing.assert_close(pool(torch.ones_like(patches), grid, smaller), torch.ones_like(pooled))


@pytest.mark.parametrize(
    ("shape", "grid", "smaller"), [((1, 35, 4), (6, 6), (3, 3)), ((1, 36, 4), (6, 6), (7, 3)), ((1, 36, 4), (6, 6), (0, 3))]
)
def test_a_grid_that_does_not_fit_is_refused(shape, grid, smaller):
    with pytest.raises(VisionError, match="grid"):
        pool(torch.zeros(shape), grid, smaller)
