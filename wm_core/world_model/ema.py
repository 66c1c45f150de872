"""The averaged weights: the bootstrap's teacher, and what usually serves."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """An exponential moving average of a network's weights, as a network in eval mode that takes no gradient, in fp32."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.network = copy.deepcopy(network).float().eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move toward the network's weights; faster at first, so that the start is forgotten."""
        self.updates += 1
        share = 1.0 - min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        average, current = list(self.network.parameters()), [parameter.detach().float() for parameter in network.parameters()]
        for mean, value in zip(average, current, strict=True):
            mean.lerp_(value, share)
