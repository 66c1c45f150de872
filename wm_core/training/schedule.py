"""What changes over a training, as functions of the step alone: nothing here has a state that a resumed run would have to find."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import torch

from wm_core.training.train_config import OptimiserConfig, Stage, TrainConfig
from wm_core.world_model.model_config import WorldModelConfig


def learning_rate(step: int, steps: int, config: OptimiserConfig) -> float:
    """Rises linearly over the warm-up, then falls along a half cosine to its final fraction at the last of `steps`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = min(1.0, (step - config.warmup_steps) / max(1, steps - 1 - config.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * share))
    return config.learning_rate * (config.final_fraction + (1.0 - config.final_fraction) * cosine)


def stage_at(step: int, config: TrainConfig) -> Stage:
    """The last stage that has begun."""
    return [stage for stage in config.curriculum if stage.from_step <= step][-1]


def world_model_at(step: int, config: TrainConfig) -> WorldModelConfig:
    """The model and its objective with what the stage changes."""
    stage = stage_at(step, config)
    given = {name: value for name in ("tau_min", "tau_max", "tau_power") if (value := getattr(stage, name)) is not None}
    coarse = min(1.0, stage.bootstrap_factor * config.objective.bootstrap_fraction)
    return WorldModelConfig(config.model, replace(config.objective, bootstrap_fraction=coarse, **given))


def generator_of(seed: int, batch: int, device: torch.device) -> torch.Generator:
    """The draws of one batch, by its number among those of all processes.

    One process that takes four batches for a step and four that take one each thus draw the same.
    """
    return torch.Generator(device).manual_seed(_number(seed, batch))


def seed_everything(seed: int, step: int, rank: int) -> None:
    """Set the generators of torch, numpy and Python, so that whoever draws from them in this step draws the same after a resume."""
    torch.manual_seed(_number(seed, step, rank))
    np.random.seed(_number(seed, step, rank) % 2**32)
    random.seed(_number(seed, step, rank))


def _number(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
