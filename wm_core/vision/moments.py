"""The backbone of the embedded encoder: filters find things, and every token says how much of each there is in its cell, and where."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from wm_core.vision.tokens import Tokens


class MomentBackbone(nn.Module):
    """Normalised pixels (B, 3, size, size) -> tokens of a grid size / cell on a side; CLS is their mean.

    Filters give maps a >= 0 at one place every `stride` pixels. A token is a linear map of the sums of a, a x and a y over its window,
    which reaches to the middles of its neighbours and fades towards them: what the tokens say of a moving thing changes smoothly from
    cell to cell, and its place can be read linearly.
    """

    windows: Tensor

    def __init__(self, size: int, width: int, stride: int, maps: int, cell: int, dim: int) -> None:
        super().__init__()
        self.filters = nn.Sequential(
            nn.Conv2d(3, width, 2 * stride, stride, stride // 2),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, maps, 1),
            nn.Softplus(),
        )
        self.maps, self.places = maps, cell // stride
        self.register_buffer("windows", moment_windows(self.places).repeat(maps, 1, 1)[:, None], persistent=False)
        self.head = nn.Conv2d(3 * maps, dim, 1)
        self.grid, self.dim = (size // cell, size // cell), dim

    def forward(self, pixels: Tensor) -> Tokens:
        padding = (self.windows.shape[-1] - self.places) // 2
        moments = conv2d(self.filters(pixels), self.windows, stride=self.places, padding=padding, groups=self.maps)
        patches = self.head(moments).flatten(2).transpose(1, 2)
        return Tokens(patches, patches.mean(dim=1))


def moment_windows(places: int) -> Tensor:
    """Weights (3, w, w) that sum a, a x and a y over a cell `places` on a side, with w = 2 places; x and y are -2 .. 2 over the window.

    The weights of a are a tent in each direction, so that those of all cells together weigh every place alike.
    """
    across = (torch.arange(2 * places) + 0.5) / places - 1.0
    tent = 2.0 * (1.0 - across.abs()) / places
    slope = 2.0 * across * tent
    return torch.stack([torch.outer(tent, tent), torch.outer(tent, slope), torch.outer(slope, tent)])
