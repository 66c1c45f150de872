"""A frozen encoder: frames to tokens, the same ones for the same name and hash, and never a gradient into its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

import torch
from torch import Tensor, nn

from wm_core.errors import VisionError
from wm_core.vision.preprocessing import Preprocessing, checked
from wm_core.vision.tokens import Grid, Tokens


class Encoder(Protocol):
    """What the rest of wm_core asks of an encoder."""

    @property
    def name(self) -> str: ...

    @property
    def weight_hash(self) -> str:
        """64 hex digits over name, weights and preprocessing: latents with another hash mean something else."""

    @property
    def grid(self) -> Grid: ...

    @property
    def dim(self) -> int: ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What it does to frames before it looks at them."""

    @property
    def device(self) -> torch.device:
        """Where its tokens come out."""

    def __call__(self, frames: Tensor) -> Tokens:
        """Frames (B, 3, H, W) uint8 RGB -> tokens float32, patches (B, P, D) and CLS (B, D), without gradient."""


class Backbone(Protocol):
    """A network that a frozen encoder is made of; all of them are nn.Modules."""

    grid: Grid
    dim: int

    def __call__(self, pixels: Tensor) -> Tokens:
        """Normalised pixels (B, 3, size, size) -> tokens."""


class FrozenEncoder:
    """Preprocessing and a backbone whose weights no longer change."""

    def __init__(
        self,
        name: str,
        backbone: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.preprocessing, self.device, self.precision = name, preprocessing, device, precision
        self.weight_hash = weight_hash(name, preprocessing, backbone.state_dict())
        self.backbone = backbone.eval().requires_grad_(False).to(device, precision)
        self.grid: Grid = backbone.grid  # type: ignore[assignment]
        self.dim: int = backbone.dim  # type: ignore[assignment]

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tokens:
        return self.encode_pixels(checked(frames).to(self.device).float())

    def encode_pixels(self, pixels: Tensor) -> Tokens:
        """Float pixels (B, 3, H, W), 0 .. 255, -> tokens; a gradient reaches the pixels (perceptual losses), never the weights."""
        normalised = self.preprocessing.normalised(self.preprocessing.sized(pixels))
        patches, cls = self.backbone(normalised.to(self.precision))
        return Tokens(patches.float(), cls.float())


def weight_hash(name: str, preprocessing: Preprocessing, weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the name, the preprocessing and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps([name, asdict(preprocessing)], sort_keys=True).encode())
    for key in sorted(weights):
        tensor = weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def require_same(encoder: Encoder, weight_hash: str, wanted_by: str) -> None:
    """Refuse an encoder whose hash is not the one that `wanted_by` (a checkpoint, a cache, a goal) was made with."""
    if encoder.weight_hash != weight_hash:
        raise VisionError(
            f"{wanted_by} was made with another encoder",
            got=f"{encoder.name} {encoder.weight_hash[:12]}",
            allowed=f"the encoder with hash {weight_hash[:12]}",
            mend=f"load that encoder, or make {wanted_by} again with this one",
        )


def require_network(encoder: Encoder, wanted_by: str) -> FrozenEncoder:
    """Refuse an exported encoder where `wanted_by` reaches into the network itself."""
    if not isinstance(encoder, FrozenEncoder):
        raise VisionError(
            f"{wanted_by} needs the network itself",
            got=f"{encoder.name} as an exported file",
            allowed="a published name, a YAML, the folder of an embedded encoder",
            mend="give the encoder that the file was exported from: both have the same hash",
        )
    return encoder
