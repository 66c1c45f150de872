"""Pooling latent tokens to coarser grids."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from wm_core.errors import WorldModelError


def pool(latents: Tensor, native: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Average the tokens (..., P, D) of the native grid over the cells of `grid`: (..., rows * columns, D)."""
    if latents.shape[-2] != native[0] * native[1]:
        raise WorldModelError("the tokens are not those of the grid", got=latents.shape[-2], allowed=f"{native[0]} x {native[1]}")
    if grid == native:
        return latents
    picture = latents.transpose(-1, -2).reshape(-1, latents.shape[-1], *native)
    pooled = functional.adaptive_avg_pool2d(picture, grid).flatten(2).transpose(1, 2)
    return pooled.reshape(*latents.shape[:-2], grid[0] * grid[1], latents.shape[-1])
