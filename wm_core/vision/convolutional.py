"""The convolutional backbone of the embedded encoder: the picture shrinks stage by stage to one token per cell."""

from __future__ import annotations

from torch import Tensor, nn

from wm_core.vision.tokens import Tokens


class ConvolutionalBackbone(nn.Module):
    """Normalised pixels (B, 3, size, size) -> tokens of a grid size / (4 * 2^(stages - 1)) on a side; CLS is their mean.

    The first stage divides by four, because full resolution is where the time goes: widths (48, 96, 192) take 96 pixels to 6x6.
    """

    def __init__(self, size: int, widths: tuple[int, ...], dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, (before, width) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
            kernel, stride, padding = (3, 2, 1) if stage else (8, 4, 2)
            layers += [nn.Conv2d(before, width, kernel, stride, padding), nn.GroupNorm(8, width), nn.GELU()]
        self.stages = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], dim, 1)
        side = size // (2 * 2 ** len(widths))
        self.grid, self.dim = (side, side), dim

    def forward(self, pixels: Tensor) -> Tokens:
        patches = self.head(self.stages(pixels)).flatten(2).transpose(1, 2)
        return Tokens(patches, patches.mean(dim=1))
