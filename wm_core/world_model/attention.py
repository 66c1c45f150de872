"""Attention over frames of tokens (B, F, S, dim): one module for space and time, told by `attend` which tokens see which.

Logits are bounded without leaving the fused kernels: queries and keys are normalised (QK-norm), so that a logit is cosine * s with a
learned s per head, and the soft cap holds s itself: s = cap * tanh(g / cap). A cap on every single logit, cap * tanh(logit / cap),
bounds the same quantity but needs a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from wm_core.world_model.rotary import Rotation, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, normalised queries and keys, and capped logits."""

    def __init__(self, dim: int, heads: int, kv_heads: int, soft_cap: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.soft_cap = heads, kv_heads, dim // heads, soft_cap
        self.project = nn.Linear(dim, (heads + 2 * kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.gain = nn.Parameter(torch.full((heads,), self.head_dim**0.5))

    def logit_scale(self) -> Tensor:
        """The largest logit of each head (heads,)."""
        return self.soft_cap * torch.tanh(self.gain / self.soft_cap) if self.soft_cap else self.gain

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend, first: int = 0) -> Tensor:
        """(B, F, S, dim) -> the frames from `first` on; `rotation` broadcasts against (F, S, heads, hd / 2)."""
        joint = self.project(x).unflatten(-1, (self.heads + 2 * self.kv_heads, self.head_dim))
        query, key, value = joint.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        scale = (self.logit_scale() / self.head_dim)[:, None]  # normalised vectors have length sqrt(hd)
        query = rotate(functional.rms_norm(query, (self.head_dim,)) * scale, rotation).type_as(value)
        key = rotate(functional.rms_norm(key, (self.head_dim,)), rotation).type_as(value)
        return self.out(attend(query[:, first:], key, value).flatten(-2))


def within_frames(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every token sees every token of its frame. (B, F, S, heads, hd) -> the same."""
    batch = query.shape[0]
    query, key, value = (part.flatten(0, 1).transpose(1, 2) for part in (query, key, value))
    out = _fused(query, key, value)
    return out.transpose(1, 2).unflatten(0, (batch, -1))


def across_frames(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
    """Every token sees its own position in other frames: those of `visible` (F, F) bool, or itself and all before it where None.

    query may be the last frames only, of which `visible` then has the rows.
    """
    batch = query.shape[0]
    query, key, value = (part.permute(0, 2, 3, 1, 4).flatten(0, 1) for part in (query, key, value))
    out = _fused(query, key, value, visible=visible, causal=visible is None)
    return out.unflatten(0, (batch, -1)).permute(0, 3, 1, 2, 4)


def _fused(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None, causal: bool = False) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=causal, scale=1.0, enable_gqa=grouped)


def own_and_shared(query: Tensor, own: tuple[Tensor, Tensor, Tensor], shared: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
    """Attention of N samples to keys of their own and to keys that all samples share, which are read once and never copied.

    query (G, S, KV, N, Q, hd), Q = queries of one sample that use one key head; own: keys and values (G, S, KV, N, M, hd) and a mask
    (Q, M) added to the logits; shared: keys and values (G, S, KV, W, hd) and a mask (Q, W). Returns the shape of query.

    The samples are so many more queries on the same shared keys: one matrix product. The few own keys are a sum of products. Both
    parts are softmax terms over one denominator, taken below the largest logit of either.
    """
    keys, values, mask = own
    logits = (query.unsqueeze(-2) * keys.unsqueeze(-3)).sum(-1).float() + mask
    largest = logits.amax(-1)
    if shared is not None:
        common = torch.matmul(query.flatten(3, 4), shared[0].mT).unflatten(3, query.shape[3:5]).float() + shared[2]
        largest = torch.maximum(largest, common.amax(-1))
    terms = (logits - largest[..., None]).exp()
    total, out = terms.sum(-1), (terms.to(values)[..., None] * values.unsqueeze(-3)).sum(-2)
    if shared is not None:
        terms = (common - largest[..., None]).exp()
        total = total + terms.sum(-1)
        out = out + torch.matmul(terms.to(values).flatten(3, 4), shared[1]).unflatten(3, query.shape[3:5])
    return out / total[..., None].to(out)
