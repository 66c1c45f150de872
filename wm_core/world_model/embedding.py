"""Frames as tokens: [registers | latent tokens | shortcut token | action token | proprioception token]."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wm_core.world_model.conditioning import Incoming
from wm_core.world_model.model_config import ModelConfig
from wm_core.world_model.rotary import cell_centres
from wm_core.world_model.shortcut import Schedule

PLANE_OCTAVES = 4


class VectorToken(nn.Module):
    """A vector as one token, or a learned token where it is not known."""

    def __init__(self, inputs: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.null = nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        """Values (B, F, inputs), known (B, F) -> (B, F, dim); what is not known does not enter, whatever it is."""
        known = known[..., None]
        return torch.where(known, self.mlp(torch.where(known, value, 0.0)), self.null)


class FrameEmbedding(nn.Module):
    """Noised latents, labels and conditioning as tokens (B, F, S, dim)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, half = config.dim, config.dim // 2
        self.latents = nn.Linear(config.latent_dim, dim)
        self.place = nn.Linear(4 * PLANE_OCTAVES + 2, dim, bias=False)
        self.registers = nn.Parameter(0.02 * torch.randn(config.registers, dim))
        self.signal = nn.Embedding(config.finest_steps, half)
        self.step = nn.Embedding(Schedule(config.finest_steps).finest_step + 1, dim - half)
        self.action = VectorToken(config.action_dim, config.action_hidden, dim)
        self.start = nn.Parameter(0.02 * torch.randn(dim))
        self.proprioception = VectorToken(config.proprioception_dim, config.action_hidden, dim) if config.proprioception_dim else None
        self.before = config.registers
        self.after = 3 if config.proprioception_dim else 2

    def forward(self, noised: Tensor, signal: Tensor, step: Tensor, incoming: Incoming, grid: tuple[int, int]) -> Tensor:
        """Tokens of noised latents (B, F, P, D); signal and step (B, F) or (1, F)."""
        clips, frames = noised.shape[:2]
        latents = self.latents(noised) + self.place(plane_features(grid, noised.device))
        shortcut = torch.cat([self.signal(signal), self.step(step)], dim=-1).expand(clips, frames, -1)
        action = torch.where(incoming.first[:, None], self.start, self.action(incoming.action, incoming.known))
        single = [shortcut, action]
        if self.proprioception is not None:
            single.append(_proprioception_token(self.proprioception, incoming))
        registers = self.registers.expand(clips, frames, -1, -1)
        tokens = [registers, latents, *(token.expand(clips, frames, -1)[:, :, None] for token in single)]
        return torch.cat([token.type_as(self.registers) for token in tokens], dim=2)  # the residual stream stays in fp32 under autocast


def _proprioception_token(token: VectorToken, incoming: Incoming) -> Tensor:
    if incoming.proprioception is None or incoming.proprioception_known is None:
        return token.null
    return token(incoming.proprioception, incoming.proprioception_known)


def plane_features(grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Where each cell lies and how large it is: (P, 4 * octaves + 2), the same picture for every grid."""
    centres = cell_centres(grid, device)
    frequency = math.pi / 2.0 * torch.exp2(torch.arange(PLANE_OCTAVES, device=device))
    angle = (centres[:, :, None] * frequency).flatten(1)
    size = torch.tensor([2.0 / grid[0], 2.0 / grid[1]], device=device).expand(len(centres), 2)
    return torch.cat([angle.sin(), angle.cos(), size], dim=-1)
