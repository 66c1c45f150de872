"""A goal is a picture as a frozen encoder sees it: made from a picture, a file, or a frame of an episode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core.data.picture import Mask, bright
from wm_core.data.reader import DatasetReader
from wm_core.errors import GoalError
from wm_core.vision.encoder import Encoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.vision.tokens import Grid

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True)
class Goal:
    """Latents (P, D) as the encoder gives them on its grid, the picture they come from, and how much each token counts.

    weights (P,) are of mean 1; None: all tokens count alike.
    """

    name: str
    latents: Tensor
    grid: Grid
    encoder: str
    encoder_hash: str
    picture: Picture
    weights: Tensor | None = None

    def require_encoder(self, name: str, weight_hash: str) -> None:
        """Refuse to be compared with the latents of another encoder."""
        if weight_hash != self.encoder_hash:
            raise GoalError(
                f"the goal '{self.name}' was seen by another encoder",
                got=f"{self.encoder} {self.encoder_hash[:12]}",
                allowed=f"{name} {weight_hash[:12]}",
                mend="save the goal again with the encoder that runs",
            )


def goal_of_picture(encoder: Encoder, picture: Picture, name: str) -> Goal:
    """A picture (H, W, 3) uint8 RGB of the scene as it shall become, from the camera that will watch."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise GoalError(f"the goal '{name}' is not a picture", got=f"{picture.shape} {picture.dtype}", allowed="(H, W, 3) uint8, RGB")
    if picture.max() == picture.min():
        raise GoalError(f"the goal '{name}' is one flat colour", got=picture[0, 0].tolist(), mend="is the camera covered?")
    frames = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    return Goal(name, encoder(frames).patches[0].cpu(), encoder.grid, encoder.name, encoder.weight_hash, picture)


def goal_of_file(encoder: Encoder, path: Path) -> Goal:
    """An image file that OpenCV reads."""
    picture = cv2.cvtColor(_read("goal picture", path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return goal_of_picture(encoder, picture.astype(np.uint8), path.stem)


def goal_of_frame(encoder: Encoder, reader: DatasetReader, episode: int, frame: int, role: str) -> Goal:
    """Frame `frame` of an episode of a LeRobot dataset, as the camera of that role saw it."""
    if episode not in reader.episodes:
        raise GoalError(f"{reader.name} has no such episode", got=episode, allowed=f"one of {len(reader.episodes)}, from 0")
    pictures = reader.frames(episode, np.array([frame]), role)
    return goal_of_picture(encoder, pictures[0].transpose(1, 2, 0), f"{reader.name}-{episode}-{frame}")


def mask_of_file(path: Path) -> Mask:
    """What is bright in an image file that OpenCV reads."""
    return bright(_read("mask", path, cv2.IMREAD_GRAYSCALE))


def _read(what: str, path: Path, how: int) -> Picture:
    """The pixels of an image file, read by OpenCV as `how` says."""
    if not path.is_file():
        raise GoalError(f"there is no {what}", got=path, mend="give the path of an image file on this machine")
    pixels = cv2.imread(str(path), how)
    if pixels is None:
        raise GoalError(f"the {what} cannot be read", got=path, allowed="PNG, JPEG and what else OpenCV reads")
    return pixels.astype(np.uint8)


def masked(goal: Goal, mask: Mask, preprocessing: Preprocessing) -> Goal:
    """The goal with each token counting for the share of its area that lies in the mask.

    A mask (h, w) of the picture's shape at any size goes the picture's way through the encoder's `preprocessing`.
    """
    height, width = goal.picture.shape[:2]
    if 0 in mask.shape or abs(mask.shape[1] * height - mask.shape[0] * width) > max(height, width):
        got, allowed = f"{mask.shape[0]}x{mask.shape[1]}", f"{height}x{width}, or the same shape at another size"
        raise GoalError(f"the mask of '{goal.name}' has another shape than its picture", got=got, allowed=allowed)
    plane = torch.from_numpy(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))
    seen = preprocessing.sized(plane.expand(1, 3, height, width))[0, 0].clamp(0.0, 1.0).numpy()
    area = cv2.resize(seen, goal.grid[::-1], interpolation=cv2.INTER_AREA).reshape(-1)
    if area.max() <= 0.0:
        got, mend = f"{int(mask.sum())} bright pixels", "make bright what counts, 128 and more of 255, where the encoder looks"
        raise GoalError(f"the mask of '{goal.name}' hides all that the encoder sees", got=got, mend=mend)
    return replace(goal, weights=torch.from_numpy(area / area.mean()))
