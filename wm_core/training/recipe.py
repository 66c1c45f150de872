"""What a self-supervised recipe is, and what all of them know of the frames they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from wm_core.errors import VisionError
from wm_core.training.encoder_config import Emphasis
from wm_core.training.frame_batch import Frames, checked, spaced

SAMPLE = 1024  # frames from which the statistics are taken: the median of all would need all in memory as floats


class Recipe(Protocol):
    """A network with a loss; the backbone in it is what remains. All recipes are nn.Modules."""

    backbone: nn.Module

    def loss(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """Frames (B, 3, S, S) uint8 -> one number."""

    def after_step(self, progress: float) -> None:
        """Called after every optimiser step with the share of training that is done, 0 .. 1."""


@dataclass(frozen=True)
class FrameStatistics:
    """What is known of a set of frames from one fixed camera, on a scale of 0 .. 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    background: Tensor  # (3, S, S): the median of every pixel
    spread: Tensor  # (1, S, S): root mean square distance from it


def frame_statistics(frames: Frames) -> FrameStatistics:
    """From frames (E, T, S, S, 3), evenly picked."""
    if checked(frames).shape[2] != frames.shape[3]:
        raise VisionError("the frames are not square", got=f"{frames.shape[2]}x{frames.shape[3]}", mend="width and height of the camera")
    picked = spaced(frames, SAMPLE).float() / 255.0
    background = picked.median(dim=0).values
    spread = (picked - background).square().mean(dim=(0, 1)).sqrt()[None]
    mean, std = picked.mean(dim=(0, 2, 3)).tolist(), picked.std(dim=(0, 2, 3)).clamp_min(0.001).tolist()
    return FrameStatistics(tuple(mean), tuple(std), background, spread)


class Reconstruction(nn.Module):
    """The target of the autoencoders, what stands before the background, and the weights that keep small things from being forgotten."""

    background: Tensor
    spread: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, statistics: FrameStatistics, emphasis: Emphasis) -> None:
        super().__init__()
        self.emphasis = emphasis
        self.register_buffer("background", statistics.background)
        self.register_buffer("spread", statistics.spread)
        self.register_buffer("mean", torch.tensor(statistics.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(statistics.std).reshape(3, 1, 1))

    def pixels(self, frames: Tensor) -> Tensor:
        """Frames uint8 -> what the encoder sees."""
        return (frames.float() / 255.0 - self.mean) / self.std

    def target(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(frames - background) / std (B, 3, S, S) and weights (B, 1, S, S) of mean 1."""
        difference = frames.float() / 255.0 - self.background
        moving = (difference.abs().amax(dim=1, keepdim=True) / 0.2).clamp_max(1.0)
        weights = (1.0 + self.emphasis.moving_gain * moving) / (self.spread + self.emphasis.quiet_floor)
        return difference / self.std, weights / weights.mean()
