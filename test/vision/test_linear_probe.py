"""Protects the probes that say how good tokens are: known linear maps are found, noise is not, both algebras agree."""

import pytest
import torch

from wm_core.errors import VisionError
from wm_core.vision.linear_probe import distances, fit_probe


def linear_world(frames, patches, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(frames, patches, 4, generator=generator)
    weights = torch.randn(patches * 4, 6, generator=torch.Generator().manual_seed(99)) / 10
    return tokens, tokens.flatten(1) @ weights + 0.3 + noise * torch.randn(frames, 6, generator=generator)


@pytest.mark.parametrize("patches", [3, 40], ids=["fewer features than frames", "more"])
def test_a_linear_map_is_found_on_frames_it_was_not_fitted_to(patches):
    tokens, targets = linear_world(220, patches, noise=0.0)
    probe = fit_probe(tokens[:200], targets[:200], torch.arange(200) // 5, strengths=(1e-9, 1e-4, 1.0))
    if patches == 3:
        assert probe.strength == 1e-9
        torch.testing.assert_close(probe(tokens[200:]).float(), targets[200:], atol=1e-4, rtol=0)
    error, spread = (probe(tokens[200:]) - targets[200:]).norm(), (targets[200:] - targets.mean(dim=0)).norm()
    assert error < 0.7 * spread


def test_ridge_is_what_its_normal_equations_say():
    tokens, targets = linear_world(60, 3, noise=0.5)
    probe = fit_probe(tokens, targets, torch.arange(60), strengths=(0.1,))
    features = (tokens.flatten(1).double() - probe.centre) / probe.scale
    residual = targets.double() - probe(tokens)
    torch.testing.assert_close(features.T @ residual, 0.1 * 60 * probe.weights, atol=1e-9, rtol=1e-9)


def test_noise_asks_for_a_stronger_ridge():
    clean, noisy = (fit_probe(*linear_world(100, 15, noise), torch.arange(100)).strength for noise in (0.0, 3.0))
    assert noisy > clean


def test_the_strength_is_chosen_on_episodes_that_were_kept_apart():
    """Tokens and targets that are random per episode fit each other perfectly, but only there: the strongest ridge has to win."""
    generator = torch.Generator().manual_seed(0)
    episodes = torch.arange(60).repeat_interleave(4)
    tokens, targets = torch.randn(60, 5, 8, generator=generator)[episodes], torch.randn(60, 3, generator=generator)[episodes]
    assert fit_probe(tokens, targets, episodes).strength == 1.0
    assert fit_probe(tokens, targets, torch.arange(240) % 7).strength < 1.0


def test_distances_are_euclidean_per_point():
    tokens, targets = linear_world(80, 2, noise=0.0)
    probe = fit_probe(tokens, targets, torch.arange(80), strengths=(1e-9,))
    moved = targets.reshape(80, 2, 3) + torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    torch.testing.assert_close(distances(probe, tokens, moved).float(), torch.tensor([5.0, 2.0]).expand(80, 2), atol=1e-3, rtol=0)


def test_one_episode_or_unequal_lengths_are_refused():
    tokens, targets = linear_world(10, 2, noise=0.0)
    with pytest.raises(VisionError, match="at least 2"):
        fit_probe(tokens, targets, torch.zeros(10))
    with pytest.raises(VisionError, match="differ in length"):
        fit_probe(tokens, targets[:9], torch.arange(10))
