"""Embedded encoders on disk: a folder with encoder.yaml (what it is) and model.safetensors (its weights)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.errors import VisionError
from wm_core.vision.convolutional import ConvolutionalBackbone
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.vision.vit import VitBackbone
from wm_core.vision.weights import fill, read_weights, write_weights

DESCRIPTION, WEIGHTS = "encoder.yaml", "model.safetensors"


@dataclass(frozen=True)
class ConvolutionalNetwork:
    """The shape of a convolutional backbone."""

    widths: tuple[int, ...] = setting(
        "Channels after each stage; the first stage divides the picture by 4, each other one by 2", low=8, high=2048
    )
    dim: int = setting("Channels of a token", low=8, high=2048)

    def build(self, size: int) -> ConvolutionalBackbone:
        if any(width % 8 for width in self.widths):
            raise VisionError(
                "the channels of a stage are not whole groups", got=self.widths, allowed="multiples of 8", mend="network.widths"
            )
        _divides(size, 2 * 2 ** len(self.widths), "network.widths")
        return ConvolutionalBackbone(size, self.widths, self.dim)


@dataclass(frozen=True)
class VitNetwork:
    """The shape of a small vision transformer."""

    patch: int = setting("Edge of a patch", unit="pixels", low=4, high=64)
    dim: int = setting("Channels of a token, a multiple of 4 and of heads", low=8, high=2048)
    depth: int = setting("Number of blocks", low=1, high=48)
    heads: int = setting("Attention heads per block", low=1, high=64)

    def build(self, size: int) -> VitBackbone:
        if self.dim % self.heads or self.dim % 4:
            raise VisionError(
                "the channels do not divide", got=self.dim, allowed=f"multiples of 4 and of {self.heads} heads", mend="network.dim"
            )
        _divides(size, self.patch, "network.patch")
        return VitBackbone(size, self.patch, self.dim, self.depth, self.heads)


Network = ConvolutionalNetwork | VitNetwork


@dataclass(frozen=True)
class EncoderDescription:
    """What encoder.yaml says: enough to build the network and to notice other weights."""

    name: str = setting("Name of the encoder")
    weight_hash: str = setting("Hash over name, preprocessing and weights")
    preprocessing: Preprocessing = setting("From frames to normalised pixels")
    convolutional: ConvolutionalNetwork | None = setting("The network, if it is convolutional", default=None)
    vit: VitNetwork | None = setting("The network, if it is a vision transformer", default=None)
    provenance: dict[str, str] = setting("How it was trained, for the reader", default={})

    @property
    def network(self) -> Network:
        if self.convolutional is not None and self.vit is None:
            return self.convolutional
        if self.vit is not None and self.convolutional is None:
            return self.vit
        raise VisionError(f"{DESCRIPTION} does not say which network", allowed="exactly one of convolutional, vit", mend=DESCRIPTION)


def save_embedded(folder: Path, encoder: FrozenEncoder, network: Network, provenance: dict[str, str]) -> None:
    """Write an encoder whose backbone `network` built; the description is last, so a folder that has one is whole."""
    kind = "vit" if isinstance(network, VitNetwork) else "convolutional"
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, encoder.backbone.state_dict())
    described = {
        "name": encoder.name,
        "weight_hash": encoder.weight_hash,
        "preprocessing": _plain(encoder.preprocessing),
        kind: _plain(network),
        "provenance": provenance,
    }
    (folder / DESCRIPTION).write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")


def load_embedded(folder: Path, device: torch.device, precision: torch.dtype = torch.float32) -> FrozenEncoder:
    """The encoder in `folder`; refused if its weights are not the ones that its description was written for."""
    described = configuration.read(EncoderDescription, folder / DESCRIPTION)
    backbone: nn.Module = described.network.build(described.preprocessing.size)
    fill(backbone, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    encoder = FrozenEncoder(described.name, backbone, described.preprocessing, device, precision)
    if encoder.weight_hash != described.weight_hash:
        raise VisionError(
            f"the weights in {folder} are not the ones its description was written for",
            got=encoder.weight_hash[:12],
            allowed=described.weight_hash[:12],
            mend=f"copy {DESCRIPTION} and {WEIGHTS} together from the same training",
        )
    return encoder


def _divides(size: int, part: int, key: str) -> None:
    if size % part:
        raise VisionError("the picture is not a whole number of cells", got=f"{size} pixels", allowed=f"multiples of {part}", mend=key)


def _plain(config: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
