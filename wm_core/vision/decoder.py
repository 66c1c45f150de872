"""Decoders for looking: token grids back to pictures. No model is trained through them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.errors import VisionError
from wm_core.vision.encoder import Encoder, require_same
from wm_core.vision.tokens import Grid
from wm_core.vision.vit import Block, sine_places
from wm_core.vision.weights import fill, read_weights, write_weights

DESCRIPTION, WEIGHTS = "decoder.yaml", "model.safetensors"


@dataclass(frozen=True)
class DecoderNetwork:
    """The shape of a decoder."""

    kind: str = setting(
        "Decoder: light (transposed convolutions) or vit (transformer blocks, then one map per token)", choices=("light", "vit")
    )
    cell: int = setting("Edge that a token becomes; for the light decoder a product of twos and threes", unit="pixels", low=2, high=64)
    width: int = setting(
        "Channels: of the light decoder's first stage, which halve at each further one; of the vit's blocks", low=8, high=4096
    )
    depth: int = setting("Blocks of the vit", low=1, high=48)
    heads: int = setting("Attention heads per block of the vit", low=1, high=64)

    def build(self, grid: Grid, dim: int) -> nn.Module:
        if self.kind == "vit":
            if self.width % self.heads or self.width % 4:
                allowed = f"multiples of 4 and of {self.heads} heads"
                raise VisionError("the channels do not divide", got=self.width, allowed=allowed, mend="network.width in the decoder's YAML")
            return VitDecoder(grid, dim, self.cell, self.width, self.depth, self.heads)
        strides = twos_and_threes(self.cell)
        if not strides:
            mend = "network.cell in the decoder's YAML, or kind: vit"
            raise VisionError(
                "the light decoder grows by twos and threes", got=self.cell, allowed="a product of twos and threes", mend=mend
            )
        return ConvolutionalDecoder(grid, dim, strides, tuple(max(8, self.width >> stage) for stage in range(len(strides))))


def twos_and_threes(number: int) -> tuple[int, ...]:
    """The prime factors of `number`, threes first, since early stages are the small ones; none if there are others."""
    factors = []
    for factor in (3, 2):
        while number % factor == 0:
            factors.append(factor)
            number //= factor
    return tuple(factors) if number == 1 else ()


class ConvolutionalDecoder(nn.Module):
    """Tokens (B, P, D) -> pictures (B, 3, H, W), through one transposed convolution per stride, with the given widths."""

    def __init__(self, grid: Grid, dim: int, strides: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        self.token_grid = grid
        layers: list[nn.Module] = [nn.Conv2d(dim, widths[0], 1)]
        for stride, (before, after) in zip(strides, pairwise((*widths, 3)), strict=True):
            layers += [nn.GELU(), nn.ConvTranspose2d(before, after, stride + 2, stride, padding=1)]
        self.layers = nn.Sequential(*layers)
        _silence(layers[-1])

    def forward(self, patches: Tensor) -> Tensor:
        return self.layers(patches.transpose(1, 2).unflatten(2, self.token_grid))


class VitDecoder(nn.Module):
    """Tokens (B, P, D) -> (B, 3, rows * patch, columns * patch): transformer blocks, then one linear map from each token to its patch."""

    places: Tensor

    def __init__(self, grid: Grid, token_dim: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.token_grid, self.patch = grid, patch
        self.enter = nn.Linear(token_dim, dim)
        self.register_buffer("places", sine_places(grid, dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.pixels = nn.Linear(dim, 3 * patch * patch)
        _silence(self.pixels)

    def forward(self, patches: Tensor) -> Tensor:
        return joined(self.pixels(self.norm(self.blocks(self.enter(patches) + self.places))), self.token_grid, self.patch)


class Decoder(nn.Module):
    """Tokens as the encoder gives them (B, P, D) -> pictures 0 .. 1 (B, 3, rows * cell, columns * cell), not yet clipped.

    Latents are normalised by `mean` and `std` (D,); what is decoded stands before the `average` picture of training.
    """

    mean: Tensor
    std: Tensor
    average: Tensor

    def __init__(self, network: DecoderNetwork, grid: Grid, dim: int, encoder_hash: str) -> None:
        super().__init__()
        self.network, self.grid, self.dim, self.encoder_hash = network, grid, dim, encoder_hash
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("average", torch.full((3, grid[0] * network.cell, grid[1] * network.cell), 0.5))
        self.decode = network.build(grid, dim)

    def forward(self, patches: Tensor) -> Tensor:
        return self.average + self.decode((patches - self.mean) / self.std)

    @torch.no_grad()
    def pictures(self, patches: Tensor) -> Tensor:
        """Tokens (..., P, D) -> pictures (..., 3, H, W) uint8."""
        if patches.ndim < 2 or patches.shape[-2:] != (self.grid[0] * self.grid[1], self.dim):
            allowed = f"(..., {self.grid[0] * self.grid[1]}, {self.dim})"
            raise VisionError("the tokens are not of this decoder's grid", got=tuple(patches.shape), allowed=allowed)
        flat = self(patches.reshape(-1, *patches.shape[-2:]).float())
        return (255.0 * flat.clamp(0.0, 1.0)).round().to(torch.uint8).reshape(*patches.shape[:-2], *flat.shape[1:])


@dataclass(frozen=True)
class DecoderDescription:
    """What decoder.yaml says."""

    encoder_hash: str = setting("Hash of the encoder whose tokens it decodes")
    grid: tuple[int, int] = setting("Rows and columns of the token grid", low=1, high=512)
    dim: int = setting("Channels of a token", low=1, high=8192)
    network: DecoderNetwork = setting("The decoder's shape")


def save_decoder(folder: Path, decoder: Decoder) -> None:
    """Write decoder.yaml and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, decoder.state_dict())
    described = {"encoder_hash": decoder.encoder_hash, "grid": list(decoder.grid), "dim": decoder.dim, "network": asdict(decoder.network)}
    (folder / DESCRIPTION).write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")


def load_decoder(folder: Path, encoder: Encoder, device: torch.device) -> Decoder:
    """The decoder in `folder`, which must have been trained on the tokens of `encoder`."""
    described = configuration.read(DecoderDescription, folder / DESCRIPTION)
    require_same(encoder, described.encoder_hash, f"the decoder in {folder}")
    decoder = Decoder(described.network, described.grid, described.dim, described.encoder_hash)
    fill(decoder, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return decoder.eval().requires_grad_(False).to(device)


def _silence(layer: nn.Module) -> None:
    """A last layer that says nothing yet, so that training starts from the average picture."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def joined(patches: Tensor, grid: Grid, patch: int) -> Tensor:
    """Patches (B, P, 3 * patch * patch) put together to pictures (B, 3, rows * patch, columns * patch)."""
    return fold(patches.transpose(1, 2), (grid[0] * patch, grid[1] * patch), kernel_size=patch, stride=patch)


def cut(pixels: Tensor, patch: int) -> Tensor:
    """The inverse of `joined`: pictures (B, 3, H, W) as patches (B, P, 3 * patch * patch)."""
    return unfold(pixels, kernel_size=patch, stride=patch).transpose(1, 2)
