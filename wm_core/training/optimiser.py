"""The optimisers over a network: which of its parameters each one moves, which decay, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wm_core.errors import CheckpointError
from wm_core.training.distributed import shared_like, whole
from wm_core.training.train_config import OptimiserConfig


@dataclass(frozen=True)
class Optimisers:
    """Several that move different parameters of one network together."""

    parts: tuple[torch.optim.Optimizer, ...]

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        for part in self.parts:
            part.step()


def build(network: nn.Module, config: OptimiserConfig) -> Optimisers:
    """AdamW over all parameters; or over all but the matrices inside the layers, which Muon moves alike fast in every direction.

    Only matrices of linear layers decay; norms, biases, embeddings and learned tokens do not.
    """
    inside = layer_matrices(network) if config.kind == "muon" else []
    linear = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear)}
    others = [one for one in network.parameters() if not any(one is matrix for matrix in inside)]
    groups = [
        {"params": [one for one in others if id(one) in linear], "weight_decay": config.weight_decay},
        {"params": [one for one in others if id(one) not in linear], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2))
    if not inside:
        return Optimisers((adam,))
    muon = torch.optim.Muon(
        inside,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        adjust_lr_fn="match_rms_adamw",  # so that one learning rate means the same for both
    )
    return Optimisers((muon, adam))


def layer_matrices(network: nn.Module) -> list[Tensor]:
    """The matrices of the linear layers in the network's blocks."""
    return [module.weight for name, module in network.named_modules() if isinstance(module, nn.Linear) and name.startswith("blocks.")]


def set_learning_rate(optimisers: Optimisers, rate: float) -> None:
    """For the next step."""
    for part in optimisers.parts:
        for group in part.param_groups:
            group["lr"] = rate


def state_of(optimisers: Optimisers, network: nn.Module) -> dict[str, Tensor]:
    """What is kept of each parameter, as "parameter/name" -> tensor, whole on every process."""
    return {
        f"{name}/{kind}": whole(value).cpu()
        for name, parameter in network.named_parameters()
        for kind, value in _part_of(parameter, optimisers).state.get(parameter, {}).items()
    }


def restore(optimisers: Optimisers, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The inverse of `state_of`, for any number of processes."""
    parameters = dict(network.named_parameters())
    for key, value in state.items():
        name, kind = key.rsplit("/", 1)
        parameter = parameters.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            wanted = "not there" if parameter is None else str(tuple(parameter.shape))
            raise CheckpointError("the optimiser's state does not fit the network", got=f"{key}: {tuple(value.shape)}", allowed=wanted)
        own = _part_of(parameter, optimisers).state[parameter]
        own[kind] = shared_like(value, parameter) if value.ndim else value


def _part_of(parameter: Tensor, optimisers: Optimisers) -> torch.optim.Optimizer:
    """The one that moves the parameter."""
    return next(part for part in optimisers.parts if any(one is parameter for group in part.param_groups for one in group["params"]))
