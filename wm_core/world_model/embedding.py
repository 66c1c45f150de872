"""Frames as tokens: [registers | latent tokens | shortcut token | action token | proprioception token], the last three apart or as one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wm_core.world_model.conditioning import Incoming
from wm_core.world_model.model_config import ModelConfig
from wm_core.world_model.rotary import cell_centres
from wm_core.world_model.shortcut import Schedule

PLANE_OCTAVES = 4
READING_OCTAVES = 3


class VectorToken(nn.Module):
    """A vector as one token, or a learned token where it is not known.

    With `octaves` its numbers are shown as waves too: what a pose looks like is a sharper function of it than a small MLP learns soon.
    """

    def __init__(self, inputs: int, hidden: int, dim: int, octaves: int = 0) -> None:
        super().__init__()
        self.octaves, self.width = octaves, inputs * (1 + 2 * octaves)
        self.mlp = nn.Sequential(nn.Linear(self.width, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.null = nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        """Values (B, F, inputs), known (B, F) -> (B, F, dim); what is not known does not enter, whatever it is."""
        known = known[..., None]
        return torch.where(known, self.mlp(self.shown(torch.where(known, value, 0.0))), self.null)

    def shown(self, value: Tensor) -> Tensor:
        """With sines and cosines of 1, 2, 4, ... times each number: (..., inputs * (1 + 2 * octaves))."""
        if not self.octaves:
            return value
        angle = (value[..., None] * torch.exp2(torch.arange(self.octaves, device=value.device))).flatten(-2)
        return torch.cat([value, angle.sin(), angle.cos()], dim=-1)


class PosedPlaces(nn.Module):
    """What a reading says of each place in the picture: linear in the products of what is known of either.

    Where the arm stands in the picture is such a product; without it a small network is long in finding out that its poses are seen.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 4 * PLANE_OCTAVES + 2, dim))
        nn.init.normal_(self.weight, std=0.3 * (width * (4 * PLANE_OCTAVES + 2)) ** -0.5)

    def forward(self, reading: Tensor, places: Tensor) -> Tensor:
        """Shown readings (B, F, width) and features of places (P, features) -> (B, F, P, dim)."""
        maps = torch.einsum("wpd,cp->wcd", self.weight, places)
        return (reading @ maps.flatten(1)).unflatten(-1, maps.shape[1:])


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
        reading = config.proprioception_dim
        self.proprioception = VectorToken(reading, config.action_hidden, dim, READING_OCTAVES) if reading else None
        self.posed = PosedPlaces(self.proprioception.width, dim) if self.proprioception else None
        self.before, self.merged = config.registers, config.merged
        self.after = 1 if config.merged else 3 if config.proprioception_dim else 2

    def forward(self, noised: Tensor, signal: Tensor, step: Tensor, incoming: Incoming, grid: tuple[int, int]) -> Tensor:
        """Tokens of noised latents (B, F, P, D); signal and step (B, F) or (1, F)."""
        clips, frames = noised.shape[:2]
        latents = self.latents(noised) + self.place(plane_features(grid, noised.device))
        if self.proprioception is not None and self.posed is not None and incoming.proprioception is not None:
            known = incoming.proprioception_known[..., None]  # type: ignore[index]
            reading = self.proprioception.shown(torch.where(known, incoming.proprioception, 0.0)) * known
            latents = latents + self.posed(reading, plane_features(grid, noised.device))
        shortcut = torch.cat([self.signal(signal), self.step(step)], dim=-1).expand(clips, frames, -1)
        action = torch.where(incoming.first[:, None], self.start, self.action(incoming.action, incoming.known))
        single = [shortcut, action]
        if self.proprioception is not None:
            single.append(_proprioception_token(self.proprioception, incoming))
        if self.merged:
            single = [torch.stack([token.expand(clips, frames, -1) for token in single]).sum(0)]
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
