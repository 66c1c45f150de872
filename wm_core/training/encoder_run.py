"""From a YAML file and a LeRobot dataset to an encoder or a decoder in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from wm_core import configuration
from wm_core.training.dataset_frames import FrameSource, Say
from wm_core.training.decoder import train_decoder
from wm_core.training.decoder_config import DecoderTraining
from wm_core.training.embedded_encoder import train_encoder
from wm_core.training.encoder_config import read_training
from wm_core.training.frame_batch import Frames
from wm_core.training.overrides import overridden
from wm_core.vision.decoder import Decoder, save_decoder
from wm_core.vision.encoder import FrozenEncoder, require_network
from wm_core.vision.load import load_encoder

EVERY = 100


def run_encoder(config: Path, overrides: Sequence[str], source: FrameSource, out: Path, device: torch.device, say: Say) -> FrozenEncoder:
    """Train what the YAML at `config` describes into the folder `out`, or go on where a kill left the same training there."""
    training = overridden(read_training(config), overrides)
    frames = _loaded(source, say)
    encoder = train_encoder(training, frames, device, out, _Progress(training.steps, say))
    rows, columns = encoder.grid
    say(f"{encoder.name} {encoder.weight_hash[:12]} at {out}: {rows}x{columns} tokens of {encoder.dim} channels")
    return encoder


def run_decoder(
    config: Path, overrides: Sequence[str], encoder: str, source: FrameSource, out: Path, device: torch.device, say: Say
) -> Decoder:
    """Train what the YAML at `config` describes on the tokens of `encoder` (as `load_encoder` takes it) into the folder `out`."""
    training = overridden(configuration.read(DecoderTraining, config), overrides)
    if training.lpips_weights:
        training = replace(training, lpips_weights=str(config.parent / Path(training.lpips_weights).expanduser()))
    frozen = require_network(load_encoder(encoder, device), "training a decoder")
    decoder = train_decoder(training, frozen, _loaded(source, say), _Progress(training.steps, say))
    save_decoder(out, decoder)
    say(f"decoder of {frozen.name} {frozen.weight_hash[:12]} at {out}")
    return decoder


def _loaded(source: FrameSource, say: Say) -> Frames:
    frames = source.load(say)
    say(f"{len(frames)} episodes of {frames.shape[1]} frames from {source.root}")
    return frames


@dataclass
class _Progress:
    """Says the mean loss of every `EVERY` steps."""

    steps: int
    say: Callable[[str], None]
    losses: list[float] = field(default_factory=list)

    def __call__(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        if (step + 1) % EVERY == 0 or step + 1 == self.steps:
            self.say(f"step {step + 1} of {self.steps}: loss {sum(self.losses) / len(self.losses):.4f}")
            self.losses.clear()
