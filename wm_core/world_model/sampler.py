"""Sampling one frame from noise in K steps, and corrupting the frames it is conditioned on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wm_core.world_model.shortcut import Schedule, mix


def sample(network: Callable[[Tensor, int, int], Tensor], noise: Tensor, steps: int, schedule: Schedule) -> Tensor:
    """The latent (..., P, D) that `steps` steps reach from noise (..., P, D).

    network(z, signal, step) -> clean latent is called with the signal levels 0, 1/K, 2/K, ... and the step size 1/K:
    z <- z + (zhat - z) d / (1 - tau), where d / (1 - tau) = 1 / (K - i), so that the last step returns zhat exactly.
    """
    step, latent = schedule.step_of(steps), noise
    for index in range(steps):
        predicted = network(latent, index * schedule.finest // steps, step).to(latent)
        latent = torch.lerp(latent, predicted, 1.0 / (steps - index))
    return latent


def corrupt(clean: Tensor, noise: Tensor, context_noise: float, schedule: Schedule) -> tuple[Tensor, int, int]:
    """Context frames as the network knows them: latents (..., P, D) with their noise, and the signal and step labels they carry."""
    signal = schedule.context_signal(context_noise)
    return mix(clean, noise, torch.tensor(signal / schedule.finest).to(clean)), signal, schedule.finest_step
