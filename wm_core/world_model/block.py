"""One transformer layer: attention and a gated MLP, each behind RMSNorm on a residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wm_core.world_model.attention import Attend, Attention
from wm_core.world_model.rotary import Rotation


class GatedMlp(nn.Module):
    """SwiGLU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * value)


class Block(nn.Module):
    """x (B, F, S, dim) -> the same; whether the layer is one of space or of time is in `rotation` and `attend`."""

    def __init__(self, dim: int, heads: int, kv_heads: int, mlp_hidden: int, soft_cap: float, depth: int) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.RMSNorm(dim, eps=1e-6), nn.RMSNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads, kv_heads, soft_cap)
        self.mlp = GatedMlp(dim, mlp_hidden)
        for linear in (self.attention.project, self.mlp.up):
            nn.init.normal_(linear.weight, std=dim**-0.5)
        with torch.no_grad():
            self.attention.out.weight.normal_(std=(2 * depth * dim) ** -0.5)
            self.mlp.down.weight.normal_(std=(2 * depth * mlp_hidden) ** -0.5)

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend, first: int = 0) -> Tensor:
        """With `first`, the frames before it are looked at but not carried on."""
        x = x[:, first:] + self.attention(self.before_attention(x), rotation, attend, first)
        return x + self.mlp(self.before_mlp(x))
