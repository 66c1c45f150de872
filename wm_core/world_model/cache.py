"""Keys and values of committed frames, in a ring that holds the frames a window back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wm_core.world_model.attention import own_and_shared


class RingCache:
    """Per time layer keys and values (G, S, KV, N, slots + 1, hd) of G contexts with N samples each.

    Frame t lies in slot t mod slots and overwrites the frame a window before it. The last slot is the place of the frame that is being
    denoised, which is never kept. Keys carry the rotation of their absolute frame number, so that sliding on turns nothing.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], slots: int, head_dim: int, like: Tensor) -> None:
        self.slots = slots
        self.keys = [like.new_zeros(*shape, slots + 1, head_dim) for _ in range(layers)]
        self.values = [like.new_zeros(*shape, slots + 1, head_dim) for _ in range(layers)]
        self.positions = torch.full((slots + 1,), -1, dtype=torch.long, device=like.device)  # -1: empty

    def places(self, positions: Tensor, committed: Tensor) -> Tensor:
        """The slots (F,) of frames by number (F,) and whether they stay (F,) bool."""
        return torch.where(committed, positions % self.slots, self.slots)

    def occupy(self, positions: Tensor, places: Tensor) -> None:
        self.positions.index_copy_(0, places, positions)

    def write(self, layer: int, key: Tensor, value: Tensor, places: Tensor) -> None:
        """Keys and values (G, S, KV, N, F, hd) into their slots."""
        self.keys[layer].index_copy_(4, places, key.to(self.keys[layer]))
        self.values[layer].index_copy_(4, places, value.to(self.values[layer]))

    def mask(self, positions: Tensor, context: int) -> Tensor:
        """(F, slots + 1), 0 where frames of these numbers may look and -inf elsewhere."""
        age = positions[:, None] - self.positions[None, :]
        seen = (self.positions >= 0) & (age >= 0) & (age < context)
        return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, float("-inf"))

    def bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(part.numel() * part.element_size() for part in (*self.keys, *self.values))


@dataclass(frozen=True)
class Memory:
    """What the frames of one pass attend to: the samples' own ring, and a context (a ring with N = 1) that they share."""

    own: RingCache
    shared: RingCache | None
    samples: int
    context: int

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, positions: Tensor, places: Tensor) -> Tensor:
        """Time attention (G * N, F, S, heads, hd) of F frames, or of the last of them; their keys and values enter the own ring first."""
        frames, heads, kv_heads = query.shape[1], query.shape[3], key.shape[3]
        key, value = (part.unflatten(0, (-1, self.samples)).permute(0, 3, 4, 1, 2, 5).contiguous() for part in (key, value))
        self.own.write(layer, key, value, places)
        grouped = query.unflatten(3, (kv_heads, -1)).unflatten(0, (-1, self.samples))
        queries = grouped.permute(0, 3, 4, 1, 2, 5, 6).flatten(4, 5).contiguous()  # sums of products over strides cost thrice as much
        own = (self.own.keys[layer], self.own.values[layer], self._mask(self.own, positions[-frames:], heads // kv_heads))
        shared = None
        if self.shared is not None:
            keys, values = self.shared.keys[layer][:, :, :, 0], self.shared.values[layer][:, :, :, 0]
            shared = (keys, values, self._mask(self.shared, positions[-frames:], heads // kv_heads))
        out = own_and_shared(queries, own, shared).unflatten(4, (frames, -1))
        return out.permute(0, 3, 4, 1, 2, 5, 6).flatten(4, 5).flatten(0, 1)

    def _mask(self, ring: RingCache, positions: Tensor, group: int) -> Tensor:
        return ring.mask(positions, self.context).repeat_interleave(group, dim=0)
