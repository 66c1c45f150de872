"""Protects the face of the model: raw numbers outside, normalised ones inside, the encoder and the bands checked by hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import CheckpointError, WorldModelError
from wm_core.world_model.checkpoint import Checkpoint, Provenance, save
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.rollout import Rollout
from wm_core.world_model.world_model import WorldModel

STATISTICS = {
    "latents": Statistics(torch.tensor([3.0, -2.0, 0.5, 10.0, 0.0]), torch.tensor([0.1, 4.0, 1.0, 2.0, 30.0])),
    "actions": Statistics(torch.tensor([0.0, 0.1, 0.5]), torch.tensor([0.02, 0.05, 0.5])),
    "proprioception": Statistics(torch.tensor([0.4, 0.0]), torch.tensor([0.1, 0.2])),
}


def checkpoint_of(**changes: object) -> Checkpoint:
    config = small_config(**changes)
    weights = awake(config).state_dict()
    return Checkpoint(config, weights, weights, STATISTICS, Provenance("synthetic", "0123", step=7))


def raw(count: int, frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    latents = STATISTICS["latents"].denormalise(torch.randn(count, frames, 6, 5, generator=generator))
    return latents, STATISTICS["actions"].denormalise(torch.randn(count, frames, 3, generator=generator))


def certain(actions: Tensor) -> Conditioning:
    return Conditioning(actions, torch.ones(actions.shape[:2], dtype=torch.bool))


def test_it_is_the_rollout_in_raw_numbers() -> None:
    saved = checkpoint_of()
    model, rollout = WorldModel(saved), Rollout(saved.network(), saved.config)
    latents, actions = raw(2, 9)
    plans = actions[:, None, 4:].repeat(1, 3, 1, 1) + 0.01
    found = model.imagine(model.context(latents[:, :4], certain(actions[:, :4])), plans, (0, 1), 2)
    inside, told = STATISTICS["latents"].normalise(latents[:, :4]), STATISTICS["actions"].normalise
    expected = rollout.imagine(rollout.prefill(inside, certain(told(actions[:, :4])), 0), told(plans), (0, 1), 2)
    assert found.shape == (2, 2, 3, 5, 6, 5)
    assert torch.allclose(found, STATISTICS["latents"].denormalise(expected), rtol=1e-4, atol=1e-4)


def test_a_context_goes_on_as_if_it_had_been_seen_at_once() -> None:
    model = WorldModel(checkpoint_of())
    latents, actions = raw(2, 8)
    whole = model.context(latents[:, :4], certain(actions[:, :4]))
    parts = model.context(latents[:, :3], certain(actions[:, :3]))
    model.extend(parts, latents[:, 3], actions[:, 2], torch.ones(2, dtype=torch.bool))
    plans = actions[:, None, 3:]
    assert torch.allclose(model.imagine(whole, plans), model.imagine(parts, plans), rtol=1e-3, atol=1e-3)


def test_it_imagines_on_a_pooled_grid() -> None:
    model = WorldModel(checkpoint_of())
    latents, actions = raw(2, 5)
    coarse = model.pooled(latents, (1, 1))
    assert torch.allclose(coarse[..., 0, :], latents.mean(-2), rtol=1e-5)
    context = model.context(coarse[:, :4], certain(actions[:, :4]), grid=(1, 1))
    assert model.imagine(context, actions[:, None, 4:]).shape == (1, 2, 1, 1, 1, 5)


def test_unknown_actions_are_not_read() -> None:
    model = WorldModel(checkpoint_of())
    latents, actions = raw(1, 6)
    context, plans = model.context(latents[:, :3], certain(actions[:, :3])), actions[:, None, 3:]
    unknown = torch.zeros(1, 1, 3, dtype=torch.bool)
    assert torch.equal(model.imagine(context, plans, known=unknown), model.imagine(context, 5.0 * plans, known=unknown))


def test_a_model_with_a_proprioception_token_hears_of_it_or_that_nothing_is_known() -> None:
    model = WorldModel(checkpoint_of(proprioception_dim=2))
    latents, actions = raw(1, 6)
    known = torch.ones(1, 3, dtype=torch.bool)
    told = [Conditioning(actions[:, :3], known, torch.full((1, 3, 2), value), known) for value in (0.3, 0.6)]
    futures = [model.imagine(model.context(latents[:, :3], one), actions[:, None, 3:]) for one in (*told, certain(actions[:, :3]))]
    assert model.proprioception == 2
    assert not torch.allclose(futures[0], futures[1])
    assert not torch.allclose(futures[0], futures[2])


def test_it_opens_a_checkpoint_or_the_newest_of_several(tmp_path: Path) -> None:
    place = save(tmp_path, "step_7", checkpoint_of())
    one, other = WorldModel.open(place), WorldModel.open(tmp_path)
    assert one.hash == other.hash != ""
    assert one.calibration is None
    assert one.provenance.step == 7
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        WorldModel.open(tmp_path / "elsewhere")


def test_another_encoder_is_refused() -> None:
    model = WorldModel(checkpoint_of())
    model.require_encoder("synthetic", "0123")
    with pytest.raises(CheckpointError, match="another encoder"):
        model.require_encoder("synthetic", "4567")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    model = WorldModel(checkpoint_of())
    latents, actions = raw(1, 6)
    context = model.context(latents[:, :3], certain(actions[:, :3]))
    plans = actions[:, None, 3:].clone()
    plans[0, 0, 1, 2] = bad
    with pytest.raises(WorldModelError, match="not finite"):
        model.imagine(context, plans)
    latents[0, 1, 2, 3] = bad
    with pytest.raises(WorldModelError, match="not finite"):
        model.context(latents[:, :3], certain(actions[:, :3]))
