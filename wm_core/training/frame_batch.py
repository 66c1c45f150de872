"""Random batches of frames from episodes in memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core.errors import VisionError

Frames = NDArray[np.uint8]
"""(E, T, H, W, 3) RGB."""


def checked(frames: Frames) -> Frames:
    """`frames` if they are (E, T, H, W, 3) uint8 with at least one picture."""
    if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[4] != 3 or frames.size == 0:
        raise VisionError("these are not training frames", got=f"{frames.shape} {frames.dtype}", allowed="(E, T, H, W, 3) uint8, RGB")
    return frames


def flat(frames: Frames, which: NDArray[np.int64]) -> Tensor:
    """The frames with these numbers, counted through all episodes: (len(which), 3, H, W) uint8."""
    length = frames.shape[1]
    return torch.from_numpy(frames[which // length, which % length]).permute(0, 3, 1, 2)


def draw(frames: Frames, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` frames from anywhere, (batch, 3, H, W) uint8."""
    return flat(frames, torch.randint(frames.shape[0] * frames.shape[1], (batch,), generator=generator).numpy())


def spaced(frames: Frames, count: int) -> Tensor:
    """At most `count` frames, evenly picked from all episodes: (n, 3, H, W) uint8."""
    return flat(frames, np.unique(np.linspace(0, frames.shape[0] * frames.shape[1] - 1, count).astype(np.int64)))
