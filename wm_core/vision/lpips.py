"""LPIPS: how different two pictures look, by the features of a VGG16 and weights fitted to people's answers (Zhang et al., 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, normalize, relu

from wm_core.errors import VisionError
from wm_core.vision.weights import fill, read_weights

STAGES = ((64, (0, 2)), (128, (5, 7)), (256, (10, 12, 14)), (512, (17, 19, 21)), (512, (24, 26, 28)))
"""Channels of each stage, and the places of its convolutions in torchvision's VGG16."""
SMALLEST = 16  # pixels


class Lpips(nn.Module):
    """The sum over five stages of the mean over places of w . (f - f')^2, where the features f of every place have length 1."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1), persistent=False)
        self.features, self.lin, before = nn.ModuleDict(), nn.ModuleList(), 3
        for channels, places in STAGES:
            for place in places:
                self.features[str(place)] = nn.Conv2d(before, channels, 3, padding=1)
                before = channels
            self.lin.append(nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), 0 .. 1, -> (B,)."""
        if min(pictures.shape[-2:]) < SMALLEST:
            mend = "a larger network.cell in the decoder's YAML, or lpips_weights empty"
            raise VisionError(
                "LPIPS halves pictures four times", got=tuple(pictures.shape[-2:]), allowed=f"{SMALLEST} pixels or more", mend=mend
            )
        pairs = zip(self.lin, self._seen(pictures), self._seen(others), strict=True)
        return torch.stack([weigh((one - other).square()).mean(dim=(1, 2, 3)) for weigh, one, other in pairs]).sum(dim=0)

    def _seen(self, pictures: Tensor) -> Iterator[Tensor]:
        """Unit features (B, C, H', W') of every stage."""
        x = (pictures - self.mean) / self.std
        for stage, (_, places) in enumerate(STAGES):
            x = max_pool2d(x, 2) if stage else x
            for place in places:
                x = relu(self.features[str(place)](x))
            yield normalize(x, dim=1, eps=1e-10)


def load_lpips(path: Path, device: torch.device) -> Lpips:
    """Frozen, from a safetensors file with the names of the `lpips` package (net="vgg"), or torchvision's for VGG16 and lin0 .. lin4."""
    named = {_name(name): tensor for name, tensor in read_weights(path).items()}
    network = Lpips()
    fill(network, {name: tensor for name, tensor in named.items() if name}, str(path))
    return network.eval().requires_grad_(False).to(device)


def _name(given: str) -> str:
    """The name here of a published tensor; empty for the classifier and whatever else is not needed."""
    feature = re.fullmatch(r"(?:net\.slice\d|features)\.(\d+\.(?:weight|bias))", given)
    weigh = re.fullmatch(r"lin(?:s\.)?(\d)\.(?:model\.1\.)?(weight)", given)
    return f"features.{feature[1]}" if feature else f"lin.{weigh[1]}.{weigh[2]}" if weigh else ""
