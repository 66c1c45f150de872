"""Protects the first guess: it is the best linear estimate there is, starts at the frame before, and ends at the frame itself."""

from __future__ import annotations

import pytest
import torch
from small_models import small_config

from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.first_guess import first_guess
from wm_core.world_model.layout import causal, committed_and_noised
from wm_core.world_model.transformer import Transformer

CHANGE = 0.2
COUNT = 200_000


@pytest.mark.parametrize(("tau", "tau_before"), [(0.0, 57 / 64), (0.3, 0.5), (0.7, 57 / 64), (63 / 64, 57 / 64), (0.5, 0.0)])
def test_no_linear_estimate_is_better(tau: float, tau_before: float) -> None:
    """Oracle: least squares on the same two observations."""
    draw = torch.Generator().manual_seed(0)
    frame_before, noise, noise_before, change = torch.randn(4, COUNT, generator=draw, dtype=torch.float64)
    clean = frame_before + CHANGE**0.5 * change
    clean, frame_before = clean / (1 + CHANGE) ** 0.5, frame_before / (1 + CHANGE) ** 0.5
    noised, before = (1 - tau) * noise + tau * clean, (1 - tau_before) * noise_before + tau_before * frame_before
    level, level_before = (torch.full((1, 1), value, dtype=torch.float64) for value in (tau, tau_before))
    shape = (1, 1, COUNT, 1)
    guess = first_guess(noised.view(shape), level, before.view(shape), level_before, torch.tensor([True]), CHANGE / (1 + CHANGE))
    observations = torch.stack([noised, before], dim=1)
    best = observations @ torch.linalg.lstsq(observations, clean[:, None]).solution
    error, least = (guess.flatten() - clean).square().mean(), (best.flatten() - clean).square().mean()
    assert least * 0.999 < error < least * 1.05


def test_it_is_the_frame_before_at_pure_noise_and_the_frame_itself_when_clean() -> None:
    noised, before = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    one, known = torch.ones(2, 3), torch.ones(3, dtype=torch.bool)
    torch.testing.assert_close(first_guess(noised, 0 * one, before, one, known, CHANGE), before)
    torch.testing.assert_close(first_guess(noised, one, before, one, known, CHANGE), noised)
    alone = first_guess(noised, 0 * one, before.fill_(float("nan")), one, ~known, CHANGE)
    assert torch.equal(alone, torch.zeros_like(alone))


def test_an_untrained_network_predicts_the_frame_before() -> None:
    """In both layouts; the head starts at zero."""
    config = small_config(change=CHANGE).model
    network, frames = Transformer(config), 5
    latents, conditioning = torch.randn(2, frames, 6, 5), Conditioning(torch.zeros(2, frames, 3), torch.ones(2, frames, dtype=torch.bool))
    label = torch.full((2, frames), 63), torch.full((2, frames), 6)
    noise = torch.zeros(2, frames, dtype=torch.long), label[1]
    both = [torch.cat(pair, dim=1) for pair in zip(label, noise, strict=True)]
    inputs = torch.cat([latents, torch.randn_like(latents)], dim=1)
    predicted = network(inputs, *both, conditioning, committed_and_noised(frames, config.context))
    torch.testing.assert_close(predicted[:, 1:], latents[:, :-1] * (63 / 64) / ((63 / 64) ** 2 + (1 / 64) ** 2))
    forced = torch.stack([latents[:, 0], torch.randn(2, 6, 5)], dim=1)
    labels = torch.tensor([[63, 0]]).expand(2, 2), label[1][:, :2]
    short = Conditioning(conditioning.actions[:, :2], conditioning.known[:, :2])
    torch.testing.assert_close(network(forced, *labels, short, causal(2, config.context))[:, 1], predicted[:, 1])
