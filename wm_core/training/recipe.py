"""What a self-supervised recipe is, and what all of them know of the frames they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from wm_core.errors import VisionError
from wm_core.training.frame_batch import Frames, checked, spaced

SAMPLE = 1024  # frames from which the statistics are taken: the median of all would need all in memory as floats
SHADES = 8  # of each of red, green and blue, that colours are counted in
RAREST = 0.002  # share of the pixels: a colour rarer than this counts no more, or a few odd pixels would count most


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
    colours: Tensor  # (SHADES^3,): the share of all pixels that have each coarse colour


def frame_statistics(frames: Frames) -> FrameStatistics:
    """From frames (E, T, S, S, 3), evenly picked."""
    if checked(frames).shape[2] != frames.shape[3]:
        raise VisionError("the frames are not square", got=f"{frames.shape[2]}x{frames.shape[3]}", mend="width and height of the camera")
    picked = spaced(frames, SAMPLE).float() / 255.0
    background = picked.median(dim=0).values
    mean, std = picked.mean(dim=(0, 2, 3)).tolist(), picked.std(dim=(0, 2, 3)).clamp_min(0.001).tolist()
    counts = torch.bincount(coarse_colours(255.0 * picked).flatten(), minlength=SHADES**3)
    return FrameStatistics(tuple(mean), tuple(std), background, counts / counts.sum())


def coarse_colours(frames: Tensor) -> Tensor:
    """Which of SHADES^3 colours every pixel of frames (B, 3, S, S), 0 .. 255, has: (B, S, S) int64."""
    red, green, blue = (frames.long() * SHADES // 256).unbind(dim=1)
    return (red * SHADES + green) * SHADES + blue


class Reconstruction(nn.Module):
    """The target of the autoencoders, what stands before the background, and weights that keep small things from being forgotten.

    A pixel weighs 1 / (share of its colour)^rarity: a small object is a hundredth of the picture, and has a colour of its own.
    """

    background: Tensor
    weight_of_colour: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, statistics: FrameStatistics, rarity: float) -> None:
        super().__init__()
        weights = (statistics.colours + RAREST) ** -rarity
        self.register_buffer("weight_of_colour", weights / (weights * statistics.colours).sum())
        self.register_buffer("background", statistics.background)
        self.register_buffer("mean", torch.tensor(statistics.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(statistics.std).reshape(3, 1, 1))

    def pixels(self, frames: Tensor) -> Tensor:
        """Frames uint8 -> what the encoder sees."""
        return (frames.float() / 255.0 - self.mean) / self.std

    def target(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(frames - background) / std (B, 3, S, S) and weights (B, 1, S, S) of mean 1 over all frames."""
        difference = frames.float() / 255.0 - self.background
        return difference / self.std, self.weight_of_colour[coarse_colours(frames)][:, None]
