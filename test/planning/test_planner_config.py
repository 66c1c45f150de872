"""Protects the one description of planning: plans stay inside what the safety guard allows, so that they are carried out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core import configuration
from wm_core.planning.bounds import ToolState
from wm_core.planning.planner_config import PlannerConfig, Within, search_of, step_limits
from wm_core.robot.guard_config import GuardConfig, Workspace
from wm_core.robot.proprioception import DOWN
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm

CONFIG = Path(__file__).resolve().parents[2] / "config"
GUARD = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")
PLANNER = configuration.read(PlannerConfig, CONFIG / "planner.yaml")


@given(st.integers(0, 2**32 - 1))
def test_plans_of_the_shipped_planner_keep_the_shipped_guards_limits(seed: int) -> None:
    seconds = 0.2
    search = search_of(PLANNER, GUARD, read_robot(CONFIG / "ur5e.yaml", arm.urdf()), seconds)
    draw = np.random.default_rng(seed)
    walls = [(getattr(GUARD.workspace, f"min_{axis}"), getattr(GUARD.workspace, f"max_{axis}")) for axis in "xyz"]
    inside = GUARD.barrier.inflation + 0.01
    start = ToolState(np.array([draw.uniform(low + inside, high - inside) for low, high in walls]), DOWN, 1.0)
    actions = search.bounds.feasible(0.2 * draw.standard_normal((4, 6, 7)), start)
    assert np.linalg.norm(actions[..., :3], axis=-1).max() <= GUARD.tool_speed.linear * seconds
    assert np.linalg.norm(actions[..., 3:6], axis=-1).max() <= GUARD.tool_speed.angular * seconds
    path = start.position + actions[..., :3].cumsum(axis=1)
    for axis, (low, high) in enumerate(walls):
        assert path[..., axis].min() >= low + GUARD.barrier.inflation
        assert path[..., axis].max() <= high - GUARD.barrier.inflation


def test_joints_of_the_shipped_search_are_the_guards_with_its_margin() -> None:
    robot = read_robot(CONFIG / "ur5e.yaml", arm.urdf())
    bounds = search_of(PLANNER, GUARD, robot, 0.2).bounds.joints
    assert bounds is not None
    np.testing.assert_allclose(bounds.lower - robot.limits.lower, GUARD.joints.position_margin)
    assert (bounds.speed <= GUARD.joints.velocity_fraction * robot.limits.velocity).all()


def test_the_shipped_search_goes_back_when_its_file_says() -> None:
    search = search_of(PLANNER, GUARD, read_robot(CONFIG / "ur5e.yaml", arm.urdf()), 0.2)
    assert search.retreat == PLANNER.retreat
    assert search.retreat.worth > 0.0


def test_a_side_without_a_wall_is_open() -> None:
    open_sides = dataclasses.replace(GUARD, workspace=Workspace(min_z=0.1))
    limits = step_limits(Within(1.0, 0.0, (0.1, 0.1, 0.1)), open_sides)
    assert limits.low == pytest.approx((-10.0, -10.0, 0.1 + GUARD.barrier.inflation))
    assert limits.high == (10.0, 10.0, 10.0)
