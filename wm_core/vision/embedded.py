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
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.moments import MomentBackbone
from wm_core.vision.preprocessing import Preprocessing
from wm_core.vision.vit import VitBackbone
from wm_core.vision.weights import fill, read_weights, write_weights

DESCRIPTION, WEIGHTS = "encoder.yaml", "model.safetensors"


@dataclass(frozen=True)
class MomentNetwork:
    """The shape of a moment backbone."""

    width: int = setting("Channels of the filters, a multiple of 8", low=8, high=2048)
    stride: int = setting("Pixels from one place of the filters to the next, even", unit="pixels", low=2, high=16)
    maps: int = setting("Kinds of things whose amount and place a token sums up", low=1, high=2048)
    cell: int = setting("Edge of the cell of a token, a multiple of the stride", unit="pixels", low=4, high=128)
    dim: int = setting("Channels of a token", low=8, high=2048)

    def build(self, size: int) -> MomentBackbone:
        if self.width % 8:
            raise VisionError("the channels are not whole groups", got=self.width, allowed="multiples of 8", mend="network.width")
        if self.stride % 2 or self.cell % self.stride:
            allowed = "an even stride that divides the cell"
            raise VisionError("the strides do not fill the cell", got=f"{self.stride}, {self.cell}", allowed=allowed, mend="network.stride")
        _divides(size, self.cell, "network.cell")
        return MomentBackbone(size, self.width, self.stride, self.maps, self.cell, self.dim)


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


Network = MomentNetwork | VitNetwork


@dataclass(frozen=True)
class EncoderDescription:
    """What encoder.yaml says: enough to build the network and to notice other weights."""

    name: str = setting("Name of the encoder")
    weight_hash: str = setting("Hash over name, preprocessing and weights")
    preprocessing: Preprocessing = setting("From frames to normalised pixels")
    moments: MomentNetwork | None = setting("The network, if it sums up moments", default=None)
    vit: VitNetwork | None = setting("The network, if it is a vision transformer", default=None)
    provenance: dict[str, str] = setting("How it was trained, for the reader", default={})

    @property
    def network(self) -> Network:
        given = [network for network in (self.moments, self.vit) if network is not None]
        if len(given) != 1:
            allowed = "exactly one of moments, vit"
            raise VisionError(f"{DESCRIPTION} does not say which network", allowed=allowed, mend=DESCRIPTION)
        return given[0]


def save_embedded(folder: Path, encoder: FrozenEncoder, network: Network, provenance: dict[str, str]) -> None:
    """Write an encoder whose backbone `network` built; the description is last, so a folder that has one is whole."""
    kind = "vit" if isinstance(network, VitNetwork) else "moments"
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
