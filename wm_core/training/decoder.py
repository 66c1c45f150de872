"""Training a decoder for looking on the latents of a frozen encoder; the encoder is a constant in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from wm_core.errors import VisionError
from wm_core.training.decoder_config import DecoderTraining
from wm_core.training.frame_batch import Frames, checked, draw, spaced
from wm_core.vision.decoder import Decoder
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.lpips import Lpips, load_lpips

SAMPLE = 512  # frames from which the spread of the latents is taken


def train_decoder(
    config: DecoderTraining, encoder: FrozenEncoder, frames: Frames, report: Callable[[int, float], None] = lambda step, loss: None
) -> Decoder:
    """Train on frames (E, T, H, W, 3) uint8 of any size that the encoder takes; `report` gets the step and its loss."""
    lpips = load_lpips(Path(config.lpips_weights).expanduser(), encoder.device) if config.lpips_weights else None
    torch.manual_seed(config.seed)
    decoder = Decoder(config.network, encoder.grid, encoder.dim, encoder.weight_hash).to(encoder.device)
    _measure(decoder, encoder, spaced(checked(frames), SAMPLE), config.batch)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
        generator = torch.Generator().manual_seed((config.seed << 32) + step)
        loss = decoder_loss(config, decoder, encoder, draw(frames, config.batch, generator), generator, lpips)
        if not torch.isfinite(loss):
            raise VisionError(
                "the loss is not finite", got=f"{loss.item()} at step {step}", mend="lower learning_rate in the decoder's YAML"
            )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        report(step, loss.item())
    return decoder.eval().requires_grad_(False)


def decoder_loss(
    config: DecoderTraining,
    decoder: Decoder,
    encoder: FrozenEncoder,
    frames: Tensor,
    generator: torch.Generator,
    lpips: Lpips | None = None,
) -> Tensor:
    """|x' - x|^2 + perceptual_weight |(encoder(x') - encoder(x)) / std|^2 + lpips_strength lpips(x', x), means over everything.

    x are frames (B, 3, H, W) uint8 on a scale of 0 .. 1, and x' what the decoder makes of their tokens.
    """
    patches = encoder(frames).patches
    noise = torch.randn(patches.shape, generator=generator).to(patches.device)
    rebuilt = decoder(patches + config.latent_noise * decoder.std * noise)
    target = _target(encoder, frames.to(encoder.device).float(), rebuilt.shape[-1])
    loss = (rebuilt - target).square().mean()
    if config.perceptual_weight > 0.0:
        seen = encoder.encode_pixels(255.0 * _resized(rebuilt, encoder.preprocessing.size)).patches
        loss = loss + config.perceptual_weight * ((seen - patches) / decoder.std).square().mean()
    if lpips is not None:
        loss = loss + config.lpips_strength * lpips(rebuilt, target).mean()
    return loss


@torch.no_grad()
def _measure(decoder: Decoder, encoder: FrozenEncoder, frames: Tensor, batch: int) -> None:
    """Mean and spread of every latent channel, and the average picture, into the decoder."""
    latents = torch.cat([encoder(part).patches for part in frames.split(batch)]).flatten(0, 1)
    decoder.mean.copy_(latents.mean(dim=0))
    decoder.std.copy_(latents.std(dim=0).clamp_min(1e-6))
    average = frames.float().mean(dim=0, keepdim=True).to(encoder.device)
    decoder.average.copy_(_target(encoder, average, decoder.average.shape[-1])[0])


def _target(encoder: FrozenEncoder, pixels: Tensor, size: int) -> Tensor:
    """What the encoder sees of pixels (B, 3, H, W), 0 .. 255, on a scale of 0 .. 1 and in the decoder's size."""
    return _resized(encoder.preprocessing.sized(pixels), size) / 255.0


def _resized(pixels: Tensor, size: int) -> Tensor:
    if pixels.shape[-1] == size:
        return pixels
    return interpolate(pixels, (size, size), mode="bicubic", antialias=True, align_corners=False)
