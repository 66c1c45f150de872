"""Training an embedded encoder on frames of one camera, without labels: seeded, and resumed where a kill left it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wm_core.errors import VisionError
from wm_core.training.convolutional_autoencoder import ConvolutionalAutoencoder
from wm_core.training.encoder_config import ConvolutionalTraining, DistilledTraining, EncoderTraining, MaskedTraining
from wm_core.training.encoder_state import read_state, write_state
from wm_core.training.frame_batch import Frames, draw
from wm_core.training.masked_autoencoder import MaskedAutoencoder
from wm_core.training.recipe import FrameStatistics, frame_statistics
from wm_core.training.self_distillation import SelfDistillation
from wm_core.vision.embedded import Network, save_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing

STATE = "training.safetensors"
Report = Callable[[int, float], None]
"""Called with the step and its loss."""


def train_encoder(
    config: EncoderTraining,
    frames: Frames,
    device: torch.device,
    folder: Path | None = None,
    report: Report = lambda step, loss: None,
) -> FrozenEncoder:
    """Train on frames (E, T, S, S, 3) uint8 and return the frozen encoder.

    With a `folder`, the state is kept there every `checkpoint_every` steps, training goes on from it if it is of the same configuration
    and frames, and the finished encoder is saved there. Every step draws from its own seed, so going on gives the same weights.
    """
    statistics = frame_statistics(frames)
    torch.manual_seed(config.seed)
    recipe = build_recipe(config, frames.shape[2], statistics).to(device)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in recipe.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=config.weight_decay,
    )
    identity = _identity(config, frames)
    state = folder / STATE if folder else None
    start = read_state(state, recipe, optimiser, identity) if state and state.is_file() else 0
    for step in range(start, config.steps):
        report(step, _step(config, step, recipe, optimiser, frames, device))
        if state and (step + 1) % config.checkpoint_every == 0:
            write_state(state, recipe, optimiser, identity, step + 1)
    encoder = _frozen(config, recipe, frames.shape[2], statistics, device)
    if folder:
        network: Network = config.network  # type: ignore[attr-defined]
        save_embedded(folder, encoder, network, {"training": json.dumps(asdict(config)), "frames": identity})
    return encoder


def build_recipe(config: EncoderTraining, size: int, statistics: FrameStatistics) -> Any:
    """The network and loss that a configuration asks for; see `Recipe`."""
    if isinstance(config, ConvolutionalTraining):
        return ConvolutionalAutoencoder(config, size, statistics)
    if isinstance(config, MaskedTraining):
        return MaskedAutoencoder(config, size, statistics)
    if isinstance(config, DistilledTraining):
        return SelfDistillation(config, size, statistics)
    raise VisionError("no recipe for this configuration", got=type(config).__name__, allowed="one of the classes in RECIPES")


def learning_rate(config: EncoderTraining, step: int) -> float:
    """A linear warm-up, then half a cosine down to zero."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return config.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))


def _step(
    config: EncoderTraining,
    step: int,
    recipe: Any,
    optimiser: torch.optim.Optimizer,
    frames: Frames,
    device: torch.device,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config, step)
    generator = torch.Generator().manual_seed((config.seed << 32) + step)
    loss = recipe.loss(draw(frames, config.batch, generator).to(device), generator)
    if not torch.isfinite(loss):
        raise VisionError("the loss is not finite", got=f"{loss.item()} at step {step}", mend="lower learning_rate in the encoder's YAML")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(recipe.parameters(), 1.0)
    optimiser.step()
    recipe.after_step(step / config.steps)
    return loss.item()


def _frozen(config: EncoderTraining, recipe: Any, size: int, statistics: FrameStatistics, device: torch.device) -> FrozenEncoder:
    preprocessing = Preprocessing(size, "exact", statistics.mean, statistics.std)
    return FrozenEncoder(f"embedded-{config.recipe}-{size}", recipe.backbone, preprocessing, device)


def _identity(config: EncoderTraining, frames: Frames) -> str:
    """What a state must agree with to be gone on from: the configuration and the frames."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    digest.update(str(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
