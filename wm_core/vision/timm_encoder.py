"""DINOv3 and DINOv2 encoders through timm, with weights from the hub or from a local file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wm_core.configuration import setting
from wm_core.errors import VisionError, nearest
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import FITS, Preprocessing
from wm_core.vision.tokens import Grid, Tokens
from wm_core.vision.weights import fill, read_weights

MODELS = {
    "dinov3_vits16": "vit_small_patch16_dinov3.lvd1689m",
    "dinov3_vits16plus": "vit_small_plus_patch16_dinov3.lvd1689m",
    "dinov3_vitb16": "vit_base_patch16_dinov3.lvd1689m",
    "dinov3_vitl16": "vit_large_patch16_dinov3.lvd1689m",
    "dinov3_vith16plus": "vit_huge_plus_patch16_dinov3.lvd1689m",
    "dinov3_vit7b16": "vit_7b_patch16_dinov3.lvd1689m",
    "dinov2_vits14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2_vitl14": "vit_large_patch14_dinov2.lvd142m",
    "dinov2_vits14_reg4": "vit_small_patch14_reg4_dinov2.lvd142m",
    "dinov2_vitb14_reg4": "vit_base_patch14_reg4_dinov2.lvd142m",
    "dinov2_vitl14_reg4": "vit_large_patch14_reg4_dinov2.lvd142m",
}
"""Our name of an encoder -> timm's, with the tag of its weights on the hub."""


@dataclass(frozen=True)
class TimmEncoderConfig:
    """Which published encoder, where its weights are, and what it sees."""

    name: str = setting("Encoder", choices=tuple(MODELS))
    weights: str = setting("hub: download once and keep in the hub's cache; or the path of a safetensors file")
    size: int = setting("Edge of the square picture that the encoder sees, a multiple of its patch", unit="pixels", low=28, high=2048)
    fit: str = setting("crop: the centre square; stretch: the whole picture; exact: refuse other sizes", choices=FITS)


class TimmBackbone(nn.Module):
    """A timm vision transformer that gives its final, normalised tokens, the CLS token and registers apart from the patches."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.grid: Grid = model.patch_embed.grid_size
        self.dim: int = model.num_features
        self.prefix: int = model.num_prefix_tokens

    def forward(self, pixels: Tensor) -> Tokens:
        tokens = self.model.forward_features(pixels)
        patches = tokens[:, self.prefix :]
        return Tokens(patches, tokens[:, 0] if self.prefix else patches.mean(dim=1))


def load_timm(config: TimmEncoderConfig, device: torch.device, precision: torch.dtype = torch.float32) -> FrozenEncoder:
    """The encoder that `config` names, frozen."""
    if config.name not in MODELS:
        raise VisionError("unknown encoder", got=config.name, allowed=nearest(config.name, MODELS), mend="name in the encoder's YAML")
    return load_model(config, MODELS[config.name], device, precision)


def load_model(
    config: TimmEncoderConfig, model_name: str, device: torch.device, precision: torch.dtype = torch.float32, **architecture: Any
) -> FrozenEncoder:
    """As `load_timm`, for any vision transformer that timm knows; `architecture` changes its widths, e.g. embed_dim and depth."""
    model = _create(config, model_name, architecture)
    if config.weights != "hub":
        path = Path(config.weights).expanduser()
        fill(model, _converted(model, read_weights(path)), str(path))
    known = model.pretrained_cfg
    preprocessing = Preprocessing(config.size, config.fit, known["mean"], known["std"])
    return FrozenEncoder(config.name, TimmBackbone(model), preprocessing, device, precision)


def _create(config: TimmEncoderConfig, model_name: str, architecture: dict[str, Any]) -> Any:
    patch = int(re.findall(r"patch(\d+)", model_name)[0])
    if config.size % patch:
        mend = "size in the encoder's YAML"
        raise VisionError(f"{config.name} cannot see this size", got=f"{config.size} pixels", allowed=f"multiples of {patch}", mend=mend)
    import timm  # for seconds, which whoever uses another encoder need not wait

    try:
        return timm.create_model(model_name, pretrained=config.weights == "hub", num_classes=0, img_size=config.size, **architecture)
    except (OSError, RuntimeError) as error:
        mend = "check the network, or download the safetensors file elsewhere and give its path as weights"
        raise VisionError(f"the weights of {config.name} do not come from the hub", got=error, mend=mend) from error


def _converted(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names and sizes to timm's: places are resampled to the grid, training's heads and mask tokens dropped."""
    filter_of_family: Callable[..., dict[str, Tensor]] | None
    filter_of_family = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return filter_of_family(weights, model) if filter_of_family else weights
