"""Protects the goal that ships: it is what the camera sees when the tool is where it says, and a place out of reach is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core import configuration
from wm_core.errors import SimulationError
from wm_core.evaluation.shown_goal import shown_goal
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.encoder import Tokens
from wm_core.vision.preprocessing import Preprocessing

CONFIG = Path(__file__).resolve().parents[2] / "config"
EXACT = Preprocessing(32, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@dataclass
class Corners:
    """The four quarters of a picture, as they are on average."""

    name: str = "corners"
    weight_hash: str = "c" * 64
    grid: tuple[int, int] = (2, 2)
    dim: int = 3
    preprocessing: Preprocessing = EXACT

    def __call__(self, frames: torch.Tensor) -> Tokens:
        cells = torch.nn.functional.adaptive_avg_pool2d(frames.float(), 2).flatten(2).transpose(1, 2)
        return Tokens(cells, cells.mean(dim=1))


def arm() -> EmbeddedArm:
    return EmbeddedArm(replace(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"), width=32, height=32))


def test_the_goal_is_the_view_of_an_arm_at_rest_at_that_pose() -> None:
    shown, pose = arm(), rotation.pose(np.array([0.45, 0.15, 0.25]), DOWN)
    goal = shown_goal(shown, Corners(), pose, "front", "default")
    np.testing.assert_allclose(shown.tool_pose(), pose, atol=3e-3)
    assert np.abs(shown.joint_velocities).max() < 0.01
    np.testing.assert_array_equal(goal.picture, shown.render("front"))
    assert (goal.picture != arm().render("front")).any()


def test_a_pose_out_of_the_workspace_is_refused() -> None:
    with pytest.raises(SimulationError, match="workspace"):
        shown_goal(arm(), Corners(), rotation.pose(np.array([0.9, 0.0, 0.25]), DOWN), "front", "default")
