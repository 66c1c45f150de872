"""AdamW over a network: which of its parameters decay, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wm_core.errors import CheckpointError
from wm_core.training.distributed import shared_like, whole
from wm_core.training.train_config import OptimiserConfig


def build(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Only matrices of linear layers decay; norms, biases, embeddings and learned tokens do not."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    decaying = {id(module.weight) for module in linear}
    groups = [
        {"params": [one for one in network.parameters() if id(one) in decaying], "weight_decay": config.weight_decay},
        {"params": [one for one in network.parameters() if id(one) not in decaying], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2))


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """For the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def state_of(optimiser: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """What is kept of each parameter, as "parameter/name" -> tensor, whole on every process."""
    return {
        f"{name}/{kind}": whole(value).cpu()
        for name, parameter in network.named_parameters()
        for kind, value in optimiser.state.get(parameter, {}).items()
    }


def restore(optimiser: torch.optim.Optimizer, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The inverse of `state_of`, for any number of processes."""
    parameters = dict(network.named_parameters())
    for key, value in state.items():
        name, kind = key.rsplit("/", 1)
        parameter = parameters.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            wanted = "not there" if parameter is None else str(tuple(parameter.shape))
            raise CheckpointError("the optimiser's state does not fit the network", got=f"{key}: {tuple(value.shape)}", allowed=wanted)
        optimiser.state[parameter][kind] = shared_like(value, parameter) if value.ndim else value
