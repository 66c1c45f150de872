"""From the bytes of a camera to the normalised pixels that an encoder was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from wm_core.configuration import setting
from wm_core.errors import VisionError

FITS = ("exact", "crop", "stretch")


@dataclass(frozen=True)
class Preprocessing:
    """How frames of any size become the square that an encoder sees."""

    size: int = setting("Edge of the square picture that the encoder sees", unit="pixels", low=16, high=2048)
    fit: str = setting("exact: refuse other sizes; crop: centre square, then resize; stretch: resize both sides", choices=FITS)
    mean: tuple[float, float, float] = setting("Mean of red, green, blue that is subtracted", low=0.0, high=1.0)
    std: tuple[float, float, float] = setting("Spread of red, green, blue that is divided by", low=0.001, high=1.0)

    def sized(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W), float on any scale, -> (B, 3, size, size) on the same scale; antialiased bicubic where sizes differ."""
        height, width = pixels.shape[-2:]
        if (height, width) == (self.size, self.size):
            return pixels
        if self.fit == "exact":
            raise VisionError(
                "the frames have another size than the encoder was trained on",
                got=f"{height}x{width}",
                allowed=f"{self.size}x{self.size}",
                mend=f"set width and height of the camera to {self.size}, or choose an encoder that resizes",
            )
        if self.fit == "crop":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            pixels = pixels[..., top : top + side, left : left + side]
        return interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W), float 0 .. 255, -> (pixels / 255 - mean) / std."""
        mean, std = (torch.tensor(values, device=pixels.device, dtype=pixels.dtype).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (pixels / 255.0 - mean) / std


def checked(frames: Tensor) -> Tensor:
    """`frames` if they are (B, 3, H, W) uint8 with at least one pixel; anything else is refused."""
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape[2:]:
        shape = f"{tuple(frames.shape)} {str(frames.dtype).removeprefix('torch.')}"
        raise VisionError("these are not frames", got=shape, allowed="(B, 3, H, W) uint8, RGB")
    return frames
