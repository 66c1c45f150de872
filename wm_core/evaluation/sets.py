"""The datasets of an evaluation, encoded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from wm_core import configuration
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip
from wm_core.data.split import held_out as kept_back
from wm_core.data.token_cache import CachedReader, TokenCache, folder_for
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_config import EvaluateConfig, EvaluationData, SetConfig
from wm_core.evaluation.held_out import HeldOut, Request, Whole, read
from wm_core.training.token_source import PatchEncoder
from wm_core.vision.encoder import Encoder
from wm_core.vision.load import load_encoder
from wm_core.world_model.checkpoint import Checkpoint
from wm_core.world_model.world_model import WorldModel

Say = Callable[[str], None]


@dataclass(frozen=True)
class TokenSet:
    """One dataset in latents and in pictures, of which `episodes` may be used, seen by the camera of one role."""

    reader: CachedReader
    pictures: DatasetReader
    episodes: Whole
    role: str
    tool_state: bool

    def clips(self, request: Request, skipped: Callable[[Skip], None]) -> HeldOut:
        """Clips of those episodes; `skipped` is told of each that cannot be read."""
        clips, lost = read(self.reader, self.role, request, self.episodes)
        for skip in lost:
            skipped(skip)
        return clips if self.tool_state else replace(clips, state=None)


def open_encoder(data: EvaluationData, beside: Path, device: torch.device) -> Encoder:
    """A published name, or a path that lies relative to the configuration."""
    folder = beside / Path(data.encoder).expanduser()
    return load_encoder(str(folder) if folder.exists() else data.encoder, device)


def model_of(config: EvaluateConfig, loaded: Checkpoint) -> WorldModel:
    """The checkpoint's model, where and in the numbers that the configuration says."""
    return WorldModel(loaded, device=config.torch_device(), dtype=config.torch_precision())


def rate(data: EvaluationData, model: WorldModel) -> float:
    """Frames per second (Hz) of the clips that a model is evaluated on: those of its training, unless the configuration tells others."""
    fps = data.fps or model.fps
    if fps is None:
        raise EvaluationError("the checkpoint does not tell at what rate it was trained", mend="set data.fps")
    return fps


def open_set(data: EvaluationData, one: SetConfig, beside: Path, encoder: Encoder, skipped: Callable[[Skip], None], say: Say) -> TokenSet:
    """The dataset whose relative paths begin at `beside`, with what its cache lacked encoded now, after `say` was told what that costs.

    `skipped` is told of every episode that contradicts itself or cannot be read.
    """
    description = configuration.read(DatasetConfig, beside / one.description)
    reader = DatasetReader(beside / Path(one.root).expanduser(), description, data.preprocessing)
    patches = PatchEncoder(encoder)
    folder = folder_for(beside / Path(data.cache).expanduser(), patches, data.preprocessing, data.cache_bits)
    cache = TokenCache(folder, patches, data.preprocessing, data.cache_bits)
    faults = [Skip(str(reader.root), episode, reason) for episode, reason in reader.faults.items()]
    for skip in faults + cache.fill([reader], lambda plan: say(plan.text()) if plan.frames else None):
        skipped(skip)
    role = data.camera or next(iter(description.cameras))
    return TokenSet(CachedReader(reader, cache), reader, _usable(reader, one), role, one.tool_state)


def _usable(reader: DatasetReader, one: SetConfig) -> Whole:
    if one.held_out == 0.0:
        return reader.episodes
    kept = np.flatnonzero(kept_back(reader.name, len(reader.metadata), one.held_out, one.seed))
    usable = np.intersect1d(reader.episodes, kept)
    if len(usable) == 0:
        raise EvaluationError(f"no episode of {reader.name} was held out", got=f"share {one.held_out:g}", mend="data.labelled.held_out")
    return usable
