"""The configurations of the three recipes for an embedded encoder, as they stand in config/encoder_*.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.errors import ConfigurationError, nearest
from wm_core.vision.embedded import MomentNetwork, VitNetwork

RARITY = "How much more a pixel of a rare colour weighs in the reconstruction: 1 / (share of its colour) to this power"


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

    def __post_init__(self) -> None:
        if RECIPES.get(self.recipe) is not type(self):
            mend = f"start from config/encoder_{self.recipe}.yaml"
            raise ConfigurationError("the settings are those of another recipe", got=self.recipe, allowed=type(self).__name__, mend=mend)


@dataclass(frozen=True)
class Narrowing:
    """How little a token may say: what is not worth its noise in pixels is left out, and what remains is spread over the channels."""

    noise: float = setting("Standard deviation of the noise on tokens in training", low=0.0, high=10.0)
    price: float = setting("Weight of the tokens' mean square; without a price they would outgrow the noise", low=0.0, high=10.0)
    distance: float = setting(
        "Weight of the error averaged over blocks of pixels, which grows with how far a thing is off", low=0.0, high=100.0
    )


@dataclass(frozen=True)
class ConvolutionalTraining(EncoderTraining):
    """A convolutional autoencoder whose decoder rebuilds each cell from its own token alone."""

    network: MomentNetwork = setting("The encoder's shape")
    decoder_width: int = setting("Hidden channels of the decoder of a cell", low=8, high=8192)
    narrowing: Narrowing = setting("How little a token may say")
    rarity: float = setting(RARITY, low=0.0, high=1.0)


@dataclass(frozen=True)
class MaskedTraining(EncoderTraining):
    """A masked autoencoder: a vision transformer sees some patches, a smaller one rebuilds all of them."""

    network: VitNetwork = setting("The encoder's shape")
    masked_share: float = setting("Share of the patches that the encoder does not see", low=0.0, high=0.95)
    visible_weight: float = setting("Weight of the patches that it sees, against 1 for those it does not", low=0.0, high=1.0)
    decoder_dim: int = setting("Channels of the decoder, a multiple of 4 and of the network's heads", low=8, high=2048)
    decoder_depth: int = setting("Blocks of the decoder", low=1, high=16)
    rarity: float = setting(RARITY, low=0.0, high=1.0)


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
