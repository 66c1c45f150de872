"""A world whose future is known, a point that actions push along a line of latents, and models that are wrong in known ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_core.evaluation.held_out import HeldOut
from wm_core.world_model.conditioning import Conditioning

GRID, DIM, CONTEXT = (2, 2), 3, 6
LINE = torch.linspace(-1.0, 1.0, GRID[0] * GRID[1] * DIM).reshape(GRID[0] * GRID[1], DIM)
LINE = LINE / LINE.square().mean().sqrt()  # a push of 1 is a squared distance of 1


def clips(count: int, horizon: int, per_episode: int = 1, seed: int = 0) -> HeldOut:
    """`count` clips with pushes drawn from a standard normal distribution; of seven numbers of an action the first is the push."""
    generator = torch.Generator().manual_seed(seed)
    frames = CONTEXT + horizon
    actions = torch.zeros(count, frames, 7)
    actions[..., 0] = torch.randn(count, frames, generator=generator)
    place = torch.randn(count, 1, generator=generator) + torch.cat([torch.zeros(count, 1), actions[:, :-1, 0].cumsum(1)], dim=1)
    latents = (place[..., None, None] * LINE).numpy()

    def stored(episode: int, rows: np.ndarray) -> np.ndarray:
        return latents[episode * per_episode + rows // frames, rows % frames]

    return HeldOut(
        stored=stored,
        actions=actions,
        known=torch.ones(count, frames, dtype=torch.bool),
        state=None,
        episodes=np.arange(count) // per_episode,
        rows=np.arange(frames) + frames * (np.arange(count) % per_episode)[:, None],
        context=CONTEXT,
        dataset="known",
        role="front",
    )


@dataclass(frozen=True)
class KnownModel:
    """Imagines response * (sum of known pushes) from the last frame on, with noise of its own per seed, frame and clip.

    With K steps a bias / K is added everywhere. `response` 1 and no noise is perfect; 0 ignores actions, and is copying.
    """

    response: float = 1.0
    noise: float = 0.0
    bias: float = 0.0
    proprioception: int = 0

    def pooled(self, latents: Tensor, grid: tuple[int, int]) -> Tensor:
        return latents if grid == GRID else latents.mean(-2, keepdim=True)

    def normalised(self, latents: Tensor) -> Tensor:
        return latents

    def context(self, latents: Tensor, conditioning: Conditioning, seed: int = 0, grid: tuple[int, int] | None = None) -> Tensor:
        return latents[:, -1]

    def imagine(
        self, context: Any, actions: Tensor, seeds: tuple[int, ...] = (0,), steps: int | None = None, known: Tensor | None = None
    ) -> Tensor:
        told = actions[..., 0] if known is None else torch.where(known, actions[..., 0], 0.0)
        moved = self.response * told.cumsum(-1)
        future = context[:, None, None] + moved[..., None, None] * LINE + self.bias / (steps or 1)
        draws = [torch.randn(future[:, :1].shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack([future + self.noise * draw for draw in draws])
