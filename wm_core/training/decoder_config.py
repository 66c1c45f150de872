"""The configuration of decoder training, as it stands in config/decoder.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.vision.decoder import DecoderNetwork


@dataclass(frozen=True)
class DecoderTraining:
    """How a decoder for looking is trained on the latents of a frozen encoder."""

    network: DecoderNetwork = setting("The decoder's shape")
    perceptual_weight: float = setting("Weight of the distance between the encoder's own tokens of both pictures", low=0.0, high=100.0)
    latent_noise: float = setting("Noise on the latents, relative to their spread, so that imagined ones decode too", low=0.0, high=2.0)
    seed: int = setting("Seed of weights, batches and noise", low=0, high=2**31 - 1)
    steps: int = setting("Optimiser steps", low=1, high=10_000_000)
    batch: int = setting("Frames per step", low=1, high=65_536)
    learning_rate: float = setting("Largest learning rate; it falls to zero along a cosine", low=0.0, high=1.0)
    lpips_weights: str = setting("Safetensors file of LPIPS on VGG16, for a second perceptual term; empty: no such term", default="")
    lpips_strength: float = setting("Weight of that term", low=0.0, high=100.0, default=0.1)
