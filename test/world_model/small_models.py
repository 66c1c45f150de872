"""Small models that predict something although they are not trained."""

from __future__ import annotations

import dataclasses

import torch

from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.transformer import Transformer


def small_config(**changes: object) -> WorldModelConfig:
    """A model of 3 x 2 tokens of 5 channels that looks back 6 frames; `changes` go to the model or the objective."""
    model = {
        "latent_dim": 5,
        "grids": ((3, 2), (1, 1)),
        "dim": 32,
        "layers": 4,
        "change": 0.2,
        "time_every": 2,
        "heads": 4,
        "kv_heads": 2,
        "mlp_hidden": 48,
        "registers": 2,
        "soft_cap": 50.0,
        "context": 6,
        "finest_steps": 64,
        "action_dim": 3,
        "action_hidden": 16,
    }
    objective = {"kind": "shortcut", "sampling_steps": 4, "context_noise": 0.1}
    names = {field.name for field in dataclasses.fields(ModelConfig)}
    model |= {key: value for key, value in changes.items() if key in names}
    objective |= {key: value for key, value in changes.items() if key not in names}
    return WorldModelConfig(ModelConfig(**model), ObjectiveConfig(**objective))  # type: ignore[arg-type]


def awake(config: WorldModelConfig, seed: int = 0) -> Transformer:
    """A network with weights everywhere, also where training starts from zero."""
    torch.manual_seed(seed)
    network = Transformer(config.model).eval()
    for parameter in network.head.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return network
