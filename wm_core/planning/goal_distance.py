"""How far imagined frames are from a goal, in latent space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wm_core.configuration import setting


@dataclass(frozen=True)
class GoalDistance:
    """d_h = mean over tokens p of w_p ||z_h,p - goal_p||^2 / D;   distance = sum_h g^(H - h) d_h / sum_h g^(H - h)."""

    discount: float = setting("g, what a step before the last counts; 0: only the last step of a plan counts", low=0.0, high=1.0)

    def of_frames(self, latents: Tensor, goal: Tensor, weights: Tensor | None) -> Tensor:
        """The distance d of normalised latents (..., P, D) to a goal (P, D) with token weights (P,): (...)."""
        tokens = (latents - goal).square().mean(-1)
        return tokens.mean(-1) if weights is None else (tokens * weights).mean(-1)

    def of_plans(self, distances: Tensor) -> Tensor:
        """Distances (..., H) of all steps as one number each."""
        horizon = distances.shape[-1]
        shares = self.discount ** torch.arange(horizon - 1, -1, -1, dtype=distances.dtype, device=distances.device)
        return (distances * shares).sum(-1) / shares.sum()
