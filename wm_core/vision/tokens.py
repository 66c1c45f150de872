"""What an encoder gives, and grids of it made smaller."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wm_core.errors import VisionError

Grid = tuple[int, int]
"""Rows and columns of a token grid."""


class Tokens(NamedTuple):
    """Patch tokens (B, P, D), row by row, and one summary token (B, D) per picture."""

    patches: Tensor
    cls: Tensor


def pool(patches: Tensor, grid: Grid, smaller: Grid) -> Tensor:
    """Token grids (..., P, D) averaged onto a smaller grid: (..., P', D).

    Where the smaller sides divide the larger ones, each new token is the exact mean of one block; otherwise neighbouring blocks overlap.
    """
    if patches.ndim < 2 or patches.shape[-2] != grid[0] * grid[1]:
        raise VisionError("the tokens are not of this grid", got=tuple(patches.shape), allowed=f"(..., {grid[0] * grid[1]}, D) for {grid}")
    if not all(1 <= new <= old for new, old in zip(smaller, grid, strict=True)):
        raise VisionError("the pooled grid does not fit", got=smaller, allowed=f"1 .. {grid[0]} rows, 1 .. {grid[1]} columns")
    if smaller == grid:
        return patches
    leading, dim = patches.shape[:-2], patches.shape[-1]
    planes = patches.reshape(-1, *grid, dim).permute(0, 3, 1, 2)
    pooled = torch.nn.functional.adaptive_avg_pool2d(planes, smaller)
    return pooled.flatten(2).transpose(1, 2).reshape(*leading, smaller[0] * smaller[1], dim)
