"""Augmentation that is the same for every frame of an episode: one draw of colours and of a crop, or a world would flicker and jump."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from wm_core.configuration import setting

Frames = NDArray[np.uint8]
GREY = 127.5  # about which contrast changes: the same for every frame, whichever are read together
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


@dataclass(frozen=True)
class AugmentConfig:
    """How many changed copies of every episode there are, and the largest changes; 0 leaves the pictures as they are."""

    copies: int = setting("Changed copies of every episode beside the recorded one; 0: none", low=0, high=64, default=0)
    brightness: float = setting("Colours are multiplied by 1 plus or minus up to this", low=0.0, high=0.9, default=0.2)
    contrast: float = setting("Contrast is multiplied by 1 plus or minus up to this", low=0.0, high=0.9, default=0.2)
    saturation: float = setting("Saturation is multiplied by 1 plus or minus up to this", low=0.0, high=0.9, default=0.2)
    hue: float = setting("Hue is turned by up to this either way", unit="rad", low=0.0, high=3.2, default=0.1)
    crop: float = setting("Up to this share of height and width is cut off, the rest enlarged", low=0.0, high=0.5, default=0.05)
    seed: int = setting("What every draw comes from", low=0, high=2**31 - 1, default=0)

    def describe(self, copy: int) -> str:
        """A line that differs whenever the pictures of this copy would; how many others there are does not change it."""
        return f"copy {copy} of {replace(self, copies=0)}"


@dataclass(frozen=True)
class Augmentation:
    """One draw: factors, a turn of the hue (rad), and the window that is kept (shares of height and width)."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    top: float = 0.0
    left: float = 0.0
    kept: float = 1.0

    def apply(self, frames: Frames) -> Frames:
        """Frames (T, 3, H, W) -> the same shape."""
        return self._recoloured(self._cropped(frames))

    def _cropped(self, frames: Frames) -> Frames:
        if self.kept >= 1.0:
            return frames
        height, width = frames.shape[2:]
        window = cv2.getRectSubPix  # sub-pixel windows, so that small crops of small pictures are not all alike
        size = (max(1, round(self.kept * width)), max(1, round(self.kept * height)))
        centre = (self.left * width + 0.5 * (size[0] - 1), self.top * height + 0.5 * (size[1] - 1))
        pictures = [cv2.resize(window(np.ascontiguousarray(f.transpose(1, 2, 0)), size, centre), (width, height)) for f in frames]
        return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))

    def _recoloured(self, frames: Frames) -> Frames:
        """One affine map of the colours: hue and saturation about grey, contrast about middle grey, brightness."""
        if (self.brightness, self.contrast, self.saturation, self.hue) == (1.0, 1.0, 1.0, 0.0):
            return frames
        cos, sin = np.cos(self.hue), np.sin(self.hue)
        turn = np.array(
            [[1.0, 0.0, 0.0], [0.0, self.saturation * cos, -self.saturation * sin], [0.0, self.saturation * sin, self.saturation * cos]]
        )
        colours = np.linalg.inv(YIQ) @ turn @ YIQ
        matrix = (self.brightness * self.contrast * colours).astype(np.float32)
        offset = np.float32(self.brightness * (1.0 - self.contrast) * GREY)
        pixels = np.einsum("ij,tjhw->tihw", matrix, frames.astype(np.float32)) + offset
        return np.clip(pixels + 0.5, 0.0, 255.0).astype(np.uint8)


def draw(config: AugmentConfig, generator: np.random.Generator) -> Augmentation:
    """The augmentation of one episode."""
    brightness, contrast, saturation, turn = generator.uniform(-1.0, 1.0, 4)
    cut = generator.uniform(0.0, config.crop)
    top, left = generator.uniform(0.0, 1.0, 2) * cut
    return Augmentation(
        brightness=1.0 + float(brightness) * config.brightness,
        contrast=1.0 + float(contrast) * config.contrast,
        saturation=1.0 + float(saturation) * config.saturation,
        hue=float(turn) * config.hue,
        top=float(top),
        left=float(left),
        kept=float(1.0 - cut),
    )
