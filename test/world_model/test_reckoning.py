"""Protects dead reckoning: imagined frames are told the pose that their actions compose to, in the network's own units, and no other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.robot import rotation
from wm_core.robot.proprioception import action_row, state_row
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.layout import causal
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.reckoning import Reckoning, reckoning_of
from wm_core.world_model.rollout import Rollout, frame_noise
from wm_core.world_model.sampler import corrupt, sample
from wm_core.world_model.shortcut import Schedule
from wm_core.world_model.transformer import Transformer

CONFIG = small_config(action_dim=7, proprioception_dim=7)


def units(seed: int) -> Statistics:
    generator = torch.Generator().manual_seed(seed)
    return Statistics(torch.randn(7, generator=generator) * 0.2, torch.rand(7, generator=generator) + 0.1)


RECKONING = Reckoning(units(1), units(2))


def driven(clips: int, frames: int) -> tuple[Tensor, Tensor]:
    """Readings and actions (clips, frames, 7) of tools that really went that way, normalised; rotations through 4x4 matrices."""
    draw, rows, actions = np.random.default_rng(0), np.zeros((clips, frames, 7)), np.zeros((clips, frames, 7))
    for clip in range(clips):
        pose, opening = rotation.pose(draw.normal(size=3), rotation.matrix(draw.normal(size=3))), 0.5
        for frame in range(frames):
            rows[clip, frame] = state_row(pose, opening, [])
            after = rotation.pose(pose[:3, 3] + 0.03 * draw.normal(size=3), rotation.matrix(0.4 * draw.normal(size=3)) @ pose[:3, :3])
            opening = draw.uniform()
            actions[clip, frame] = action_row(pose, after, opening)
            pose = after
    return RECKONING.proprioception.normalise(torch.from_numpy(rows)), RECKONING.actions.normalise(torch.from_numpy(actions))


def test_it_ends_where_the_poses_end() -> None:
    readings, actions = driven(20, 12)
    torch.testing.assert_close(RECKONING.ahead(readings[:, 2], actions[:, 2:-1]), readings[:, 3:], atol=1e-4, rtol=1e-4)


def test_standing_still_and_half_turns_are_numbers() -> None:
    still = Reckoning(Statistics(torch.zeros(7), torch.ones(7)), Statistics(torch.zeros(7), torch.ones(7)))
    reading = torch.tensor([[0.1, 0.2, 0.3, torch.pi, 0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0]])
    actions = torch.zeros(2, 3, 7)
    actions[..., 6] = 1.0
    torch.testing.assert_close(still.ahead(reading, actions).abs(), reading[:, None].expand(-1, 3, -1))


def network_on_readings(
    network: Transformer, config: WorldModelConfig, past: Tensor, conditioning: Conditioning, horizon: int
) -> list[Tensor]:
    """Imagined frames (G, P, D) with one full pass for each, told the readings that `conditioning` holds for all T + H frames."""
    schedule, share, shape, frames = Schedule(64), config.objective.context_noise, past.shape[2:], list[Tensor]()
    committed = [corrupt(past[:, t], frame_noise(0, t, "context", shape), share, schedule)[0] for t in range(past.shape[1])]
    for number in range(past.shape[1], past.shape[1] + horizon):

        def at(z: Tensor, signal: int, step: int, number: int = number) -> Tensor:
            signals, steps = torch.full((len(z), number + 1), 57), torch.full((len(z), number + 1), schedule.finest_step)
            signals[:, -1], steps[:, -1] = signal, step
            told = [None if part is None else part[:, : number + 1] for part in vars(conditioning).values()]
            layout = causal(number + 1, config.model.context)
            return network(torch.stack([*committed, z], dim=1), signals, steps, Conditioning(*told), layout)[:, -1]  # type: ignore[arg-type]

        frames.append(sample(at, frame_noise(0, number, "start", shape).expand(len(past), -1, -1), 2, schedule))
        committed.append(corrupt(frames[-1], frame_noise(0, number, "commit", shape), share, schedule)[0])
    return frames


@pytest.mark.parametrize("lost", [None, 4])
@torch.no_grad()
def test_a_rollout_tells_the_network_what_the_recording_would_have(lost: int | None) -> None:
    """And nothing from the frame on that an unknown action leads into."""
    network, (readings, actions) = awake(CONFIG), driven(2, 8)
    past, known = torch.randn(2, 4, 6, 5), torch.ones(2, 8, dtype=torch.bool)
    told = known.clone()
    if lost is not None:
        known[:, lost], told[:, lost + 1 :] = False, False
    recorded = Conditioning(actions, known, readings, told)
    seen = Conditioning(*(part[:, :4] for part in vars(recorded).values()))
    rollout = Rollout(network, CONFIG, reckoning=RECKONING)
    context = rollout.prefill(past, seen, seed=0)
    imagined = rollout.imagine(context, actions[:, None, 3:7], steps=2, known=known[:, None, 3:7])[0, :, 0]
    wanted = torch.stack(network_on_readings(network, CONFIG, past, recorded, 4), dim=1)
    torch.testing.assert_close(imagined, wanted, atol=1e-4, rtol=1e-4)
    blind = Rollout(network, CONFIG)
    other = blind.imagine(blind.prefill(past, seen, seed=0), actions[:, None, 3:7], steps=2, known=known[:, None, 3:7])[0, :, 0]
    assert (other[:, 0] - imagined[:, 0]).abs().max() > 1e-3


@torch.no_grad()
def test_a_reading_may_come_with_a_frame_or_stay_away() -> None:
    network, (readings, actions) = awake(CONFIG), driven(2, 6)
    past, known = torch.randn(2, 4, 6, 5), torch.ones(2, 4, dtype=torch.bool)
    rollout, plans = Rollout(network, CONFIG, reckoning=RECKONING), actions[:, None, 3:5]
    for last in (readings[:, 3], None):
        told = known.clone()
        told[:, 3] = last is not None
        whole = rollout.prefill(past, Conditioning(actions[:, :4], known, readings[:, :4], told), seed=0)
        context = rollout.prefill(past[:, :3], Conditioning(actions[:, :3], known[:, :3], readings[:, :3], told[:, :3]), seed=0)
        rollout.extend(context, past[:, 3], actions[:, 2], known[:, 2], seed=0, reading=last)
        torch.testing.assert_close(rollout.imagine(context, plans), rollout.imagine(whole, plans), atol=1e-4, rtol=1e-4)


def test_readings_that_are_not_finite_are_refused_where_they_count() -> None:
    rollout, (readings, actions) = Rollout(awake(CONFIG), CONFIG, reckoning=RECKONING), driven(2, 3)
    readings[0, 1, 2] = float("nan")
    known, past = torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 3, 6, 5)
    with pytest.raises(WorldModelError, match="readings of the context are not finite"):
        rollout.prefill(past, Conditioning(actions, known, readings, known), seed=0)
    told = known.clone()
    told[0, 1] = False
    context = rollout.prefill(past, Conditioning(actions, known, readings, told), seed=0)
    with pytest.raises(WorldModelError, match="the reading of the context are not finite"):
        rollout.extend(context, past[:, 0], actions[:, 0], known[:, 0], seed=0, reading=readings[:, 1])


def test_it_is_made_for_models_that_are_told_of_the_tool() -> None:
    statistics = {"actions": units(1), "proprioception": units(2)}
    assert reckoning_of(CONFIG.model, statistics) is not None
    assert reckoning_of(dataclasses.replace(CONFIG.model, proprioception_dim=0), statistics) is None
    assert reckoning_of(dataclasses.replace(CONFIG.model, proprioception_dim=13), statistics) is None
    assert reckoning_of(CONFIG.model, {"actions": units(1)}) is None
