"""The configurations of the three recipes for an embedded encoder, as they stand in config/encoder_*.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.errors import ConfigurationError, nearest
from wm_core.vision.embedded import ConvolutionalNetwork, VitNetwork


@dataclass(frozen=True)
class Emphasis:
    """Which pixels count in a reconstruction: on a fixed camera most never change, and the objects are a hundredth of the picture."""

    moving_gain: float = setting("Added weight of a pixel that differs fully from the still background", low=0.0, high=1000.0)
    quiet_floor: float = setting("Weights are divided by a pixel's own spread over all frames plus this", low=0.001, high=10.0)


@dataclass(frozen=True)
class EncoderTraining:
    """What every recipe needs."""

    recipe: str = setting("Recipe", choices=("convolutional", "masked", "distilled"))
    seed: int = setting("Seed of weights, batches and masks", low=0, high=2**31 - 1)
    steps: int = setting("Optimiser steps", low=1, high=10_000_000)
    batch: int = setting("Frames per step", low=2, high=65_536)
    learning_rate: float = setting("Largest learning rate, after the warm-up; it falls to zero along a cosine", low=0.0, high=1.0)
    weight_decay: float = setting("Weight decay of AdamW", low=0.0, high=1.0)
    warmup_steps: int = setting("Steps over which the learning rate rises", low=0, high=1_000_000)
    checkpoint_every: int = setting("Steps between two states from which training goes on after a kill", low=1, high=1_000_000)


@dataclass(frozen=True)
class ConvolutionalTraining(EncoderTraining):
    """A convolutional autoencoder whose decoder rebuilds each cell from its own token alone."""

    network: ConvolutionalNetwork = setting("The encoder's shape")
    decoder_width: int = setting("Hidden channels of the decoder of a cell", low=8, high=8192)
    emphasis: Emphasis = setting("Which pixels count")


@dataclass(frozen=True)
class MaskedTraining(EncoderTraining):
    """A masked autoencoder: a vision transformer sees some patches, a smaller one rebuilds all of them."""

    network: VitNetwork = setting("The encoder's shape")
    masked_share: float = setting("Share of the patches that the encoder does not see", low=0.0, high=0.95)
    visible_weight: float = setting("Weight of the patches that it sees, against 1 for those it does not", low=0.0, high=1.0)
    decoder_dim: int = setting("Channels of the decoder, a multiple of 4 and of the network's heads", low=8, high=2048)
    decoder_depth: int = setting("Blocks of the decoder", low=1, high=16)
    emphasis: Emphasis = setting("Which pixels count")


@dataclass(frozen=True)
class DistilledTraining(EncoderTraining):
    """Self-distillation: a student sees a jittered view with masked patches, its slow copy the whole one (DINO on CLS, iBOT on patches)."""

    network: VitNetwork = setting("The encoder's shape")
    prototypes: int = setting("Outputs over which teacher and student agree", low=8, high=65_536)
    masked_share: float = setting("Share of the student's patches that are masked", low=0.0, high=0.95)
    jitter: float = setting("Spread of brightness and contrast between two views", low=0.0, high=1.0)
    teacher_momentum: float = setting("Share of the teacher that stays at each step; rises to 1 along a cosine", low=0.0, high=1.0)
    teacher_temperature: float = setting("Temperature of the teacher's softmax", low=0.001, high=1.0)
    student_temperature: float = setting("Temperature of the student's softmax", low=0.001, high=1.0)


RECIPES: dict[str, type[EncoderTraining]] = {
    "convolutional": ConvolutionalTraining,
    "masked": MaskedTraining,
    "distilled": DistilledTraining,
}


def read_training(path: Path) -> EncoderTraining:
    """The configuration in a file, of the class that its key `recipe` asks for."""
    mapping = configuration.read_mapping(path)
    recipe = str(mapping.get("recipe"))
    if recipe not in RECIPES:
        allowed = f"{', '.join(RECIPES)} ({nearest(recipe, RECIPES)})"
        raise ConfigurationError(f"'recipe' in {path} is not valid", got=recipe, allowed=allowed, mend=f"change 'recipe' in {path}")
    return configuration.build(RECIPES[recipe], mapping, source=str(path))
