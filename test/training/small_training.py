"""A tiny world model, its training configuration, and clips of a moving blob made from nothing but a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_core.data.clip import ClipRequest
from wm_core.training.clips import LatentClips, measure
from wm_core.training.distributed import ALONE, Processes
from wm_core.training.train_config import DataConfig, OptimiserConfig, RunConfig, Stage, TrainConfig
from wm_core.training.trainer import Trainer
from wm_core.world_model.checkpoint import Provenance
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig

PROVENANCE = Provenance("synthetic", "0123")
MODEL = ModelConfig(
    latent_dim=4,
    grids=((2, 2), (1, 1)),
    dim=16,
    layers=2,
    time_every=2,
    heads=2,
    kv_heads=1,
    mlp_hidden=24,
    registers=1,
    soft_cap=50.0,
    context=6,
    finest_steps=16,
    action_dim=3,
    action_hidden=8,
)
OBJECTIVE = ObjectiveConfig("shortcut", 4, 0.1, bootstrap_start=3, inference_fraction=0.5, action_dropout=0.1, ema_decay=0.9)


def train_config(**changes: Any) -> TrainConfig:
    """The tiny training; a key that a section has changes it there."""
    sections: dict[str, Any] = {
        "model": MODEL,
        "objective": OBJECTIVE,
        "data": DataConfig((), "synthetic", "none", clip=ClipRequest(0.8, 10.0)),
        "run": RunConfig(steps=8, batch=4, global_batch=4, seed=5, device="cpu", precision="fp32", log_every=1, checkpoint_every=4),
        "optimiser": OptimiserConfig(learning_rate=3e-3, warmup_steps=2),
        "curriculum": (Stage(0, (4, 8)),),
        "rollout_weight": 1.0,
    }
    for key, value in changes.items():
        if key in sections:
            sections[key] = value
            continue
        name = next(name for name, part in sections.items() if hasattr(part, key))
        sections[name] = dataclasses.replace(sections[name], **{key: value})
    return TrainConfig(**sections)


SHARED_OUT: dict[str, dict[str, Any]] = {
    "ddp": {"curriculum": (Stage(0, (4, 8)), Stage(3, (8,), horizon=2))},
    "muon": {"optimiser": OptimiserConfig("muon", learning_rate=3e-3, warmup_steps=2)},
    "fsdp": {"strategy": "fsdp"},
}
"""Trainings that two processes share, by what they change of the tiny one; fsdp has neither a rollout loss nor Muon."""


def shared_out(name: str, steps: int) -> TrainConfig:
    """One of them; two batches make a step, of one process or of two."""
    return train_config(steps=steps, batch=4, global_batch=8, checkpoint_every=3, **SHARED_OUT[name])


class Synthetic:
    """Batch k of process r is number k * world + r: actions push the latents around; every third clip is unlabelled."""

    def __init__(self, batch: int, rank: int = 0, world: int = 1, poisoned: int = -1, proprioception: int = 0) -> None:
        self.batch, self.rank, self.world, self.poisoned, self.proprioception = batch, rank, world, poisoned, proprioception
        self.next = 0

    def __iter__(self) -> Iterator[LatentClips]:
        while True:
            number = self.next * self.world + self.rank
            self.next += 1
            yield self.clips(number)

    def clips(self, number: int) -> LatentClips:
        draw = np.random.default_rng([3, number])
        first = draw.normal(size=(self.batch, 1, 1, 4))
        actions = draw.normal(size=(self.batch, 8, 3))
        moved = np.concatenate([np.zeros((self.batch, 1, 3)), actions[:, :-1]], axis=1).cumsum(axis=1) * 0.5
        latents = first + np.pad(moved, ((0, 0), (0, 0), (0, 1)))[:, :, None] * np.array([1.0, 0.5, -0.5, 2.0])[:, None]
        if number == self.poisoned:
            latents[1, 2, 0, 0] = np.nan
        labelled = np.arange(self.batch) % 3 != 2
        mask = np.repeat(labelled[:, None], 8, axis=1)
        own = torch.zeros(self.batch, 8, self.proprioception), torch.from_numpy(mask)
        return LatentClips(
            torch.from_numpy(latents).float(),
            torch.from_numpy(np.where(mask[..., None], actions, 0.0)).float(),
            torch.from_numpy(mask),
            torch.from_numpy(labelled),
            tuple(f"synthetic {number}.{clip}" for clip in range(self.batch)),
            *(own if self.proprioception else ()),
        )

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next, "world": self.world}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.next = state["next"] * state["world"] // self.world


def make_trainer(folder: Path, config: TrainConfig, processes: Processes = ALONE, resume: bool = False, **source: Any) -> Trainer:
    statistics = measure(Synthetic(config.run.batch), 4)
    clips = Synthetic(config.run.batch, processes.rank, processes.world, **source)
    return Trainer(config, clips, statistics, PROVENANCE, folder, processes, resume)
