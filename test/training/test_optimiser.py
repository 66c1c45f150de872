"""Protects what each optimiser moves and how: Muon the layers' matrices, alike fast in every direction; AdamW all the rest."""

from __future__ import annotations

import pytest
import torch
from small_training import MODEL, train_config

from wm_core.errors import ConfigurationError
from wm_core.training import optimiser
from wm_core.training.train_config import OptimiserConfig
from wm_core.world_model.transformer import Transformer


def moved(kind: str) -> dict[str, torch.Tensor]:
    """How far each parameter of a small network goes in one step along gradients that point mostly one way."""
    torch.manual_seed(3)
    network = Transformer(MODEL)
    optimisers = optimiser.build(network, OptimiserConfig(kind=kind, learning_rate=0.01, weight_decay=0.0))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = 3.0 * torch.ones_like(parameter) + torch.randn_like(parameter)
    optimisers.step()
    return {name: value.detach() - before[name] for name, value in network.named_parameters()}


def spread(matrix: torch.Tensor) -> float:
    """The smallest singular value as a share of the largest."""
    values = torch.linalg.svdvals(matrix)
    return float(values[-1] / values[0])


def test_muon_moves_the_matrices_of_the_layers_alike_fast_in_all_directions_and_adamw_does_not() -> None:
    muon, adam = moved("muon"), moved("adamw")
    inside = [name for name in muon if name.startswith("blocks.") and muon[name].ndim == 2]
    assert len(inside) > 4
    for name in inside:
        assert spread(muon[name]) > 0.5, name
        assert spread(muon[name]) > 2.0 * spread(adam[name]), name
    for name in set(muon) - set(inside):
        assert torch.equal(muon[name], adam[name]), name


def test_a_step_of_muon_is_as_long_as_one_of_adamw() -> None:
    muon, adam = moved("muon"), moved("adamw")
    for name in muon:
        assert 0.1 < float(muon[name].norm() / adam[name].norm()) < 3.0, name


def test_muon_needs_whole_matrices() -> None:
    with pytest.raises(ConfigurationError, match=r"whole matrices.*fsdp.*adamw"):
        train_config(strategy="fsdp", optimiser=OptimiserConfig(kind="muon"), curriculum=train_config().curriculum)
