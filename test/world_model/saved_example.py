"""A checkpoint of a small network, for tests that save and load."""

from __future__ import annotations

import torch
from small_models import awake, small_config

from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.ema import Ema
from wm_core.world_model.normalisation import Statistics


def example(step: int = 1, seed: int = 0) -> Checkpoint:
    config = small_config()
    network = awake(config, seed)
    statistics = {"latent": Statistics(torch.randn(5), torch.rand(5) + 0.1), "action": Statistics(torch.zeros(3), torch.ones(3))}
    provenance = Provenance("dino-small", "abc123", step, "data0", "rev0", {"loss": 0.25})
    extra = {"optimiser": {"moment": torch.arange(4.0)}}
    ema = Ema(awake(config, seed + 1), 0.9).network.state_dict()
    return Checkpoint(config, network.state_dict(), ema, statistics, provenance, extra, {"sampler": {"epoch": 3}})
