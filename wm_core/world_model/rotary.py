"""Rotary positions: of frames in time, and of tokens in the plane of the picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
LONGEST_PERIOD = 10_000.0
FINEST_PLANE_FREQUENCY = 10.0


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Vectors x (..., hd) turned by cos and sin (..., hd / 2), broadcast; norms stay."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).type_as(x)


def time_rotation(positions: Tensor, head_dim: int) -> Rotation:
    """Rotations (F, hd / 2) of frame numbers (F,) int64.

    Angles are taken in float64: keys keep the angle of their absolute frame number in the cache for as long as a stream runs.
    """
    pairs = head_dim // 2
    frequency = LONGEST_PERIOD ** (-torch.arange(pairs, device=positions.device, dtype=torch.float64) / pairs)
    angle = positions.double()[:, None] * frequency
    return angle.cos().float(), angle.sin().float()


def cell_centres(grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Centres (rows * columns, 2) of a grid's cells in [-1, 1], the same picture for every grid."""
    rows, columns = ((torch.arange(count, device=device) + 0.5) / count * 2.0 - 1.0 for count in grid)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def plane_rotation(grid: tuple[int, int], before: int, after: int, head_dim: int, device: torch.device | None = None) -> Rotation:
    """Rotations (before + P + after, hd / 2) of one frame's tokens; tokens that are not in the picture are not turned."""
    each = head_dim // 4
    frequency = math.pi * FINEST_PLANE_FREQUENCY ** (torch.arange(each, device=device) / max(each - 1, 1))
    angle = (cell_centres(grid, device)[:, :, None] * frequency).flatten(1)
    angle = torch.nn.functional.pad(angle, (0, 0, before, after))
    return angle.cos(), angle.sin()
