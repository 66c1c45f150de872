"""What a training will cost, measured on a few of its own steps before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from wm_core.training.clips import LatentClips
from wm_core.training.token_source import Datasets
from wm_core.training.train_config import TrainConfig
from wm_core.training.trainer import Trainer
from wm_core.world_model.transformer import parameters

GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """Numbers of one process. Memory in bytes: weights with gradient, optimiser and average; and what a backward pass keeps."""

    parameters: int
    weight_bytes: int
    activation_bytes: int
    seconds_per_step: float
    clips: tuple[int, ...]
    steps: int

    def lines(self) -> list[str]:
        hours = self.seconds_per_step * self.steps / 3600.0
        return [
            f"latents of a batch: {' x '.join(map(str, self.clips))} (clips, frames, tokens, channels)",
            f"parameters: {self.parameters / 1e6:.2f} M",
            f"memory: {(self.weight_bytes + self.activation_bytes) / GIB:.2f} GiB "
            f"({self.weight_bytes / GIB:.2f} weights and optimiser, {self.activation_bytes / GIB:.2f} activations)",
            f"time: {self.seconds_per_step:.3f} s a step, {hours:.2f} h for {self.steps} steps",
        ]


class _Kept:
    """Counts what autograd keeps for the backward pass, each piece of memory once."""

    def __init__(self) -> None:
        self.bytes, self._seen = 0, set[int]()

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def measure(trainer: Trainer, steps: int = 3) -> Cost:
    """Take `steps` steps with a trainer that is thrown away afterwards; the first one warms up and is not timed.

    The steps are those of the end of the training: with the teacher, the rollout loss and the longest clips it will have.
    """
    trainer.step = max(0, trainer.config.run.steps - steps - 1)
    kept, batches = _Kept(), iter(trainer.source)
    first, seconds = next(batches), list[float]()
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        trainer.train_step(_again(first, trainer))
    for _ in range(steps):
        begin = time.perf_counter()
        trainer.train_step(_again(first, trainer))
        if trainer.processes.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    weights = 4 * sum(parameter.numel() for parameter in trainer.network.parameters())
    activations = kept.bytes // trainer.config.accumulation(trainer.processes.world)
    shape = tuple(first.latents.shape)
    return Cost(parameters(trainer.network), 5 * weights, activations, min(seconds), shape, trainer.config.run.steps)


def describe(config: TrainConfig, datasets: Datasets) -> list[str]:
    """What will be read: the cameras and rates of every dataset, what of them no clip comes from, and what is still to be encoded."""
    lines = []
    for reader, source in zip(datasets.readers, config.data.sources, strict=True):
        cameras = ", ".join(f"{role} = {key}" for role, key in reader.config.cameras.items())
        kind = "labelled" if source.labelled else "unlabelled"
        lines.append(f"{reader.name} ({kind}): {len(reader.episodes)} episodes at {reader.metadata.fps:g} Hz, {cameras}")
    lines += datasets.left_out()
    clip = config.data.clip
    lines.append(f"clips: {clip.frames} frames at {clip.fps:g} Hz, {clip.seconds:g} s; {config.run.global_batch} a step")
    lines.append(f"latents to encode: {datasets.plan().text()}")
    return lines


def _again(clips: LatentClips, trainer: Trainer) -> Any:
    return islice(iter(lambda: clips, None), trainer.config.accumulation(trainer.processes.world))
