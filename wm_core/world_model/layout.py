"""Which frame of a clip each frame of a batch is, and which frames it sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """F frames: their number in the clip (F,) int64, who sees whom (F, F) bool (None: causal), and the first one that is predicted.

    `before` (F,) int64 says which of them holds the frame before each; -1: none does.
    """

    positions: Tensor
    before: Tensor
    visible: Tensor | None
    first_output: int = 0


def causal(frames: int, context: int, device: torch.device | None = None) -> Layout:
    """Frames in order, each seeing itself and the context - 1 before it."""
    positions = torch.arange(frames, device=device)
    return Layout(positions, positions - 1, None if frames <= context else _within(positions, positions, context))


def committed_and_noised(frames: int, context: int, device: torch.device | None = None) -> Layout:
    """The pattern of inference for every frame of a clip in one pass: 2T frames, the committed ones and then the noised ones.

    Committed frame t sees the committed frames up to itself; noised frame t sees the committed frames before t, and itself.
    """
    order = torch.arange(frames, device=device)
    past = _within(order, order, context)
    none, itself = torch.zeros_like(past), torch.eye(frames, dtype=torch.bool, device=device)
    visible = torch.cat([torch.cat([past, none], dim=1), torch.cat([past & ~itself, itself], dim=1)])
    return Layout(order.repeat(2), (order - 1).repeat(2), visible, first_output=frames)


def _within(query: Tensor, key: Tensor, context: int) -> Tensor:
    age = query[:, None] - key[None, :]
    return (age >= 0) & (age < context)
