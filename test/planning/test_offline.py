"""Protects planning from two pictures: the plan nears the goal as the model imagines it, keeps to the bounds, and is reported as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core import configuration
from wm_core.errors import CheckpointError
from wm_core.evaluation import plan_report
from wm_core.planning import offline
from wm_core.planning.goal import Goal, goal_of_picture
from wm_core.planning.offline import Outlook, Planning, Start
from wm_core.planning.planner_config import PlannerConfig, search_of
from wm_core.robot import rotation
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.proprioception import DOWN
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm
from wm_core.training.overrides import overridden
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer
from wm_core.world_model.world_model import WorldModel

CONFIG = Path(__file__).resolve().parents[2] / "config"
SIZE, DIM, STEP = 32, 8, 0.2
WORDS = ["search.samples=16", "search.elites=4", "search.horizon=3", "search.iterations=3", "search.review=0", "frames=2"]
TOOL = rotation.pose(np.array([0.5, 0.0, 0.2]), DOWN)


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    pixels = Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return FrozenEncoder("tiny", MomentNetwork(8, 4, 8, 16, DIM).build(SIZE), pixels, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(encoder: FrozenEncoder) -> WorldModel:
    """Untrained, but it listens to actions."""
    shape = ModelConfig(DIM, (encoder.grid,), 16, 2, 2, 2, 1, 24, 1, 50.0, 8, 16, 7, 8)
    torch.manual_seed(1)
    network = Transformer(shape)
    for parameter in network.head.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    weights = network.state_dict()
    units = {
        "latents": Statistics(torch.zeros(DIM), torch.full((DIM,), 0.1)),
        "actions": Statistics(torch.zeros(7), torch.full((7,), 0.05)),
    }
    told = WorldModelConfig(shape, ObjectiveConfig("shortcut", 1, 0.1))
    return WorldModel(Checkpoint(told, weights, weights, units, Provenance(encoder.name, encoder.weight_hash)))


@pytest.fixture(scope="module")
def planning() -> Planning:
    config = overridden(configuration.read(PlannerConfig, CONFIG / "planner.yaml"), WORDS)
    config = replace(config, cheap=replace(config.careful, steps=1, seeds=1), careful=replace(config.careful, steps=1, seeds=2))
    guard, robot = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml"), read_robot(CONFIG / "ur5e.yaml", arm.urdf())
    return Planning(config, search_of(config, guard, robot, STEP), lambda: 0.0, seed=3)


def seen(encoder: FrozenEncoder, seed: int) -> Goal:
    return goal_of_picture(encoder, np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), f"picture-{seed}")


@pytest.fixture(scope="module")
def found(model: WorldModel, encoder: FrozenEncoder, planning: Planning) -> Outlook:
    return offline.look_ahead(model, Start(seen(encoder, 0), TOOL, 1.0), seen(encoder, 1), planning)


def test_the_plan_is_no_worse_than_standing_still_and_within_the_bounds(found: Outlook, planning: Planning, encoder: FrozenEncoder) -> None:
    assert found.plan.terms["goal"] <= found.plan.cost + 1e-9
    assert found.end < found.still
    longest = planning.search.bounds.limits.linear_speed * STEP
    assert 0.0 < np.linalg.norm(found.plan.actions[:, :3], axis=1).max() <= longest + 1e-9
    assert (found.plan.actions[:, 6] == 1.0).all()
    assert found.frames.shape == (3, encoder.grid[0] * encoder.grid[1], DIM)
    assert found.doubt is None
    assert found.uncertainty > 0.0


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(
    found: Outlook, model: WorldModel, encoder: FrozenEncoder, planning: Planning
) -> None:
    start = Start(seen(encoder, 0), TOOL, 1.0)
    again = offline.look_ahead(model, start, seen(encoder, 1), planning)
    np.testing.assert_array_equal(again.plan.actions, found.plan.actions)
    other = offline.look_ahead(model, start, seen(encoder, 1), replace(planning, seed=4))
    assert not np.array_equal(other.plan.actions, found.plan.actions)


def test_poses_are_composed() -> None:
    actions = np.zeros((2, 7))
    actions[:, 0], actions[:, 3:6] = 0.1, [[0.0, 0.0, np.pi / 2], [np.pi / 2, 0.0, 0.0]]
    poses = offline.path(TOOL, actions)
    np.testing.assert_allclose(poses[:, 0, 3], [0.5, 0.6, 0.7])
    by_hand = rotation.matrix(np.array([np.pi / 2, 0.0, 0.0])) @ rotation.matrix(np.array([0.0, 0.0, np.pi / 2])) @ DOWN
    np.testing.assert_allclose(poses[2, :3, :3], by_hand, atol=1e-12)


def test_what_is_written_is_what_was_planned(found: Outlook, tmp_path: Path) -> None:
    poses = offline.path(TOOL, found.plan.actions)
    told = json.loads(plan_report.write(found, poses, tmp_path).read_text(encoding="utf-8"))
    np.testing.assert_allclose(told["plan"]["actions"], found.plan.actions)
    np.testing.assert_allclose(np.array(told["poses"])[-1, :3], poses[-1, :3, 3])
    assert (told["still"], told["end"], told["doubt"]) == (found.still, found.end, None)
    text = plan_report.text(found, poses)
    assert f"{found.plan.actions[1, 2]:+.4f}" in text
    assert f"this plan {found.end:.3f}" in text


def test_a_model_that_tells_no_rate_is_refused(model: WorldModel) -> None:
    with pytest.raises(CheckpointError, match="rate of its frames"):
        offline.step_of(model)
