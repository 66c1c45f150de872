"""A small vision transformer: the backbone of the self-distilled and the masked embedded encoders, and of the ViT decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from wm_core.vision.tokens import Grid, Tokens


class Attention(nn.Module):
    """Full self-attention over (B, N, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        q, k, v = self.mix(x).reshape(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, dim))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.before_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))


class VitBackbone(nn.Module):
    """Normalised pixels (B, 3, size, size) -> patch tokens of a grid size / patch on a side and a learned CLS token."""

    places: Tensor

    def __init__(self, size: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid, self.dim = (size // patch, size // patch), dim
        self.project = nn.Conv2d(3, dim, patch, stride=patch)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.register_buffer("places", sine_places(self.grid, dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches with their places, before any block: (B, P, D)."""
        return self.project(pixels).flatten(2).transpose(1, 2) + self.places

    def mix(self, embedded: Tensor) -> Tokens:
        """All blocks over any subset (B, N, D) of the embedded patches."""
        x = torch.cat([self.cls.expand(embedded.shape[0], -1, -1), embedded], dim=1)
        x = self.norm(self.blocks(x))
        return Tokens(x[:, 1:], x[:, 0])

    def forward(self, pixels: Tensor) -> Tokens:
        return self.mix(self.embed(pixels))


def sine_places(grid: Grid, dim: int) -> Tensor:
    """Sine and cosine codes of row and column, (rows * columns, dim); a quarter of the channels each."""
    frequency = 100.0 ** -torch.linspace(0.0, 1.0, dim // 4)
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    phases = [axis.reshape(-1, 1) * frequency for axis in (rows, columns)]
    return torch.cat([wave(phase) for phase in phases for wave in (torch.sin, torch.cos)], dim=1)
