"""A clip: some seconds of one camera at a rate that was asked for, with what the arm did meanwhile where that is known.

OpenCV is imported where it is used: the recorder, which only tells how pictures are brought to size, needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError


@dataclass(frozen=True)
class ClipRequest:
    """How long a clip is and how fast its frames follow one another, whatever the rate of the dataset."""

    seconds: float = setting("Length of a clip", unit="s", low=0.01, high=600.0)
    fps: float = setting("Frames per second of a clip, at most those of the dataset", unit="Hz", low=0.1, high=240.0)

    @property
    def frames(self) -> int:
        return max(1, round(self.seconds * self.fps))

    def rows(self, start: int, source_fps: float) -> NDArray[np.int64]:
        """The rows of the frames and of one more after them, (frames + 1,).

        Frame i is row start + floor(i * source / fps): the phase accumulates, so a clip is never longer or shorter than its time by more
        than one row, where stepping by a rounded stride would drift by percents.
        """
        ratio = source_fps / self.fps
        if ratio < 1.0 - 1e-6:
            got, mend = f"{self.fps:g} Hz of {source_fps:g} Hz", "lower clip.fps, or leave the dataset out"
            raise ConfigurationError("a clip cannot have more frames than were recorded", got=got, mend=mend)
        return start + np.floor(np.arange(self.frames + 1) * ratio + 1e-6).astype(np.int64)

    def span(self, source_fps: float) -> int:
        """How many rows an episode needs for one clip."""
        return int(self.rows(0, source_fps)[-2]) + 1


@dataclass(frozen=True)
class Preprocessing:
    """The size that pictures are brought to; 0 leaves them as they are."""

    height: int = setting("Height of the pictures", unit="pixels", low=0, high=4096, default=0)
    width: int = setting("Width of the pictures", unit="pixels", low=0, high=4096, default=0)
    fit: str = setting(
        "squash to the size; crop to its aspect from the middle; or pad with black", choices=("squash", "crop", "pad"), default="squash"
    )

    def describe(self) -> str:
        """A line that differs whenever the pictures would."""
        return f"{self.height}x{self.width} {self.fit}" if self.height and self.width else "as recorded"

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (T, H, W, 3) -> (T, height, width, 3): averaged over areas when they shrink, interpolated when they grow."""
        height, width = frames.shape[1:3]
        if not self.height or not self.width or (height, width) == (self.height, self.width):
            return frames
        import cv2

        if self.fit == "crop":
            frames = _cropped(frames, self.width / self.height)
        elif self.fit == "pad":
            frames = _padded(frames, self.width / self.height)
        shrinks = frames.shape[1] * frames.shape[2] > self.height * self.width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.stack([cv2.resize(frame, (self.width, self.height), interpolation=how) for frame in frames])


def _cropped(frames: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    keep_height, keep_width = min(height, round(width / aspect)), min(width, round(height * aspect))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return frames[:, top : top + keep_height, left : left + keep_width]


def _padded(frames: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    more_height, more_width = max(0, round(width / aspect) - height), max(0, round(height * aspect) - width)
    before = (more_height // 2, more_width // 2)
    return np.pad(frames, ((0, 0), (before[0], more_height - before[0]), (before[1], more_width - before[1]), (0, 0)))


@dataclass(frozen=True)
class Clip:
    """T frames of one camera, and where they come from."""

    frames: NDArray[Any]  # (T, 3, H, W) uint8; tokens (T, P, D) float32 where they come from a token cache
    actions: NDArray[np.float32]  # (T, 7): from each frame to the next; zeros where not known
    action_mask: NDArray[np.bool_]  # (T,): whether the action is known
    state: NDArray[np.float32]  # (T, S); S is 0 where the dataset does not tell it
    rows: NDArray[np.int64]  # (T,): rows of the episode
    dataset: str
    episode: int
    viewpoint: str  # role of the camera
    scene: str  # the place; empty where not known
    task: str
