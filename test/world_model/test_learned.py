"""Protects what training must teach, on a world whose dynamics are known: actions count, those of the right frame, and spread stays."""

from __future__ import annotations

import moving_dot
import pytest
import torch
from torch import Tensor

from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.objective import training_loss
from wm_core.world_model.rollout import Rollout
from wm_core.world_model.transformer import Transformer

CLIPS, SEEN = 64, 3
Trained = tuple[Transformer, WorldModelConfig]


@pytest.fixture(scope="module")
def model() -> Trained:
    return moving_dot.trained("shortcut", updates=220, warm_up=90)


@pytest.fixture(scope="module")
def held_out() -> tuple[Tensor, Tensor]:
    return moving_dot.clips(CLIPS, torch.Generator().manual_seed(99))


def certain(actions: Tensor) -> Conditioning:
    return Conditioning(actions, torch.ones(actions.shape[:2], dtype=torch.bool))


def next_frame(model: Trained, latents: Tensor, moves: Tensor, last: Tensor, steps: int = 4, known: bool = True, seeds: int = 1) -> Tensor:
    """Imagined frames (seeds, CLIPS, P, D) after SEEN, which the actions `last` (CLIPS, 1) lead into."""
    rollout = Rollout(*model)
    context = rollout.prefill(latents[:, :SEEN], certain(moves[:, :SEEN]), seed=0)
    shown = torch.full((CLIPS, 1, 1), known)
    return rollout.imagine(context, last[:, None, None], tuple(range(seeds)), steps, shown)[:, :, 0, 0]


def test_trap_13_actions_shifted_by_one_either_way_worsen_the_loss(model: Trained, held_out: tuple[Tensor, Tensor]) -> None:
    network, config = model
    latents, moves = held_out

    def loss(actions: Tensor) -> float:
        with torch.no_grad():
            return float(training_loss(network, None, latents, certain(actions), config, torch.Generator().manual_seed(1)).total)

    true, early, late = (loss(moves.roll(shift, 1)) for shift in (0, -1, 1))
    assert early > 1.3 * true
    assert late > 1.3 * true


def test_trap_14_other_actions_give_another_future_and_the_true_ones_beat_standing_still(
    model: Trained, held_out: tuple[Tensor, Tensor]
) -> None:
    latents, moves = held_out
    truth = latents[:, SEEN]

    def error(last: Tensor) -> float:
        return (next_frame(model, latents, moves, last)[0] - truth).square().mean().item()

    true = error(moves[:, SEEN - 1])
    assert error(moves[:, SEEN - 1].roll(1, 0)) > 1.5 * true
    assert (latents[:, SEEN - 1] - truth).square().mean().item() > 1.5 * true


def test_trap_08_few_steps_keep_the_spread_of_futures_that_actions_do_not_settle(model: Trained, held_out: tuple[Tensor, Tensor]) -> None:
    latents, moves = held_out

    def spread(steps: int) -> float:
        return next_frame(model, latents, moves, moves[:, SEEN - 1], steps, known=False, seeds=6).std(0).mean().item()

    whole = spread(64)
    assert spread(1) > 0.5 * whole  # a network without bootstrap keeps nothing of it
    assert spread(4) > 0.6 * whole
