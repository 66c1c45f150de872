"""A world whose dynamics are known: a soft dot on a ring of 6 tokens that moves by its action."""

from __future__ import annotations

import torch
from small_models import small_config
from torch import Tensor

from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.ema import Ema
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.objective import training_loss
from wm_core.world_model.transformer import Transformer

CELLS, FRAMES, CLIPS = 6, 4, 16


def config_of(kind: str) -> WorldModelConfig:
    return small_config(
        kind=kind,
        latent_dim=2,
        grids=((1, CELLS),),
        layers=3,
        time_every=3,
        action_dim=1,
        dim=32,
        mlp_hidden=64,
        registers=1,
        context=FRAMES,
        bootstrap_rows=0.5,
        inference_fraction=1.0,
        inference_tau_power=0.3,
        change=0.0,
        action_dropout=0.05,
        ema_decay=0.99,
    )


def clips(count: int, generator: torch.Generator, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Latents (count, frames, CELLS, 2) of zero mean and unit deviation, and the moves (count, frames, 1) in cells after each frame."""
    moves = 3.0 * torch.rand(count, frames, 1, generator=generator) - 1.5
    start = CELLS * torch.rand(count, 1, 1, generator=generator)
    place = start + torch.cat([torch.zeros(count, 1, 1), moves[:, :-1].cumsum(1)], dim=1)
    angle = 2 * torch.pi / CELLS * (place - torch.arange(CELLS))
    return torch.stack([angle.cos(), (2 * angle).cos()], dim=-1) * 2**0.5, moves


def trained(kind: str, updates: int, warm_up: int, seed: int = 0) -> tuple[Transformer, WorldModelConfig]:
    """The averaged weights after so many updates on fresh clips."""
    torch.manual_seed(seed)
    config, generator = config_of(kind), torch.Generator().manual_seed(seed)
    network = Transformer(config.model)
    ema = Ema(network, config.objective.ema_decay)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 30) * (1.0 - step / updates) + 0.02)
    for update in range(updates):
        latents, moves = clips(CLIPS, generator)
        known = torch.ones(CLIPS, FRAMES, dtype=torch.bool)
        teacher = ema.network if update >= warm_up else None
        loss = training_loss(network, teacher, latents, Conditioning(moves, known), config, generator)
        optimiser.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        ema.update(network)
    return ema.network, config
