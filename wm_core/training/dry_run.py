"""What a training will cost, measured on a few of its own steps before it begins."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import repeat

import torch
from torch import Tensor

from wm_core.training.token_source import Datasets
from wm_core.training.train_config import TrainConfig
from wm_core.training.trainer import Trainer
from wm_core.world_model.transformer import parameters

GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """Numbers of one process. Memory in bytes: weights with gradient, optimiser and average; and the most that a backward pass keeps.

    seconds_per_step is a mean: steps take differently long, as they draw their grids, lengths and patterns.
    """

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
    """Counts what autograd keeps for one backward pass, each piece of memory once, and none of the weights."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self.bytes, self._seen = 0, {weight.untyped_storage().data_ptr() for weight in weights}

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def measure(trainer: Trainer, steps: int = 3) -> Cost:
    """Take `steps` steps with a trainer that is thrown away afterwards; the first one warms up and is not timed.

    The steps are those of the end of the training, with the teacher and the rollout loss. The first one is of a single batch, the
    costliest there is: memory is needed for one batch at a time, however many a step has.
    """
    config, kept, clips = trainer.config, _Kept(trainer.network.parameters()), next(iter(trainer.source))
    trainer.step = max(0, config.run.steps - steps - 1)
    trainer.config = costliest(config, trainer.processes.world)
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        trainer.train_step(repeat(clips))
    trainer.config = config
    begin = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(repeat(clips))
    if trainer.processes.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - begin) / steps
    weights = 4 * sum(parameter.numel() for parameter in trainer.network.parameters())
    return Cost(parameters(trainer.network), 5 * weights, kept.bytes, seconds, tuple(clips.latents.shape), config.run.steps)


def costliest(config: TrainConfig, processes: int) -> TrainConfig:
    """The training whose steps have one batch each, as large as any: the finest grid, the longest clips, the pattern of inference.

    That pattern shows every frame twice, committed and noised.
    """
    longest = max(max(stage.frames) for stage in config.curriculum)
    last = replace(config.curriculum[-1], from_step=0, frames=(longest,), tau_min=None, tau_max=None, tau_power=None)
    return replace(
        config,
        model=replace(config.model, grids=config.model.grids[:1]),
        objective=replace(config.objective, inference_fraction=1.0),
        run=replace(config.run, global_batch=config.run.batch * processes),
        curriculum=(last,),
    )


def describe(config: TrainConfig, datasets: Datasets) -> list[str]:
    """What will be read: the cameras and rates of every dataset, what of them no clip comes from, and what is still to be encoded."""
    lines = []
    for reader, source in zip(datasets.readers, config.data.sources, strict=True):
        cameras = ", ".join(f"{role} = {key}" for role, key in reader.config.cameras.items())
        kind = "labelled" if source.labelled else "unlabelled"
        lines.append(f"{reader.name} ({kind}): {len(reader.episodes)} episodes at {reader.metadata.fps:g} Hz, {cameras}")
    lines += datasets.left_out(min(min(stage.frames) for stage in config.curriculum))
    clip = config.data.clip
    lines.append(f"clips: {clip.frames} frames at {clip.fps:g} Hz, {clip.seconds:g} s; {config.run.global_batch} a step")
    lines.append(f"latents to encode: {datasets.plan().text()}")
    return lines
