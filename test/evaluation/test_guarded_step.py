"""Protects what a replay says of the guard: a step that it lets through comes out whole, one against a limit is cut and the limit named."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core import configuration
from wm_core.cli.shipped import shipped
from wm_core.evaluation.guarded_step import guarded_step
from wm_core.robot.guard import Guard
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm

HOME, STILL, STEP = np.array(arm.HOME), np.zeros(6), 0.2


@pytest.fixture(scope="module")
def guard() -> Guard:
    robot = read_robot(shipped("ur5e.yaml"), arm.urdf())
    return Guard(configuration.read(GuardConfig, shipped("safety_guard.yaml")), robot.limits, robot.kinematics)


def left(guard: Guard, velocity: np.ndarray, action: np.ndarray) -> float:
    let = guarded_step(guard, HOME, velocity, action, STEP)
    assert let is not None
    assert let.left is not None
    return let.left


def asked(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return np.array([x, y, z, 0.0, 0.0, 0.0, 1.0])


def joint_velocity(guard: Guard, twist: np.ndarray) -> np.ndarray:
    """With which the tool moves as `twist` (6,) says, by differences."""
    columns = [
        (guard.kinematics.tool_pose(HOME + 1e-6 * one)[:3, 3] - guard.kinematics.tool_pose(HOME - 1e-6 * one)[:3, 3]) / 2e-6
        for one in np.eye(6)
    ]
    return np.linalg.pinv(np.array(columns).T) @ twist


def test_a_small_step_of_an_arm_that_moves_so_already_goes_through_whole(guard: Guard) -> None:
    velocity = joint_velocity(guard, np.array([0.0, 0.05, 0.0]))
    let = guarded_step(guard, HOME, velocity, asked(y=0.01), STEP)
    assert let is not None
    assert let.left == pytest.approx(1.0, abs=0.02)
    assert not let.limits


def test_an_arm_at_rest_has_to_gather_speed(guard: Guard) -> None:
    moving = joint_velocity(guard, np.array([0.0, 0.05, 0.0]))
    assert 0.2 < left(guard, STILL, asked(y=0.01)) < left(guard, moving, asked(y=0.01))


def test_a_step_that_is_too_far_is_cut_and_the_limit_named(guard: Guard) -> None:
    let = guarded_step(guard, HOME, STILL, asked(y=0.3), STEP)
    assert let is not None
    assert let.left is not None
    assert let.left < 0.5
    assert let.limits == ("tool_speed",)


def test_no_way_has_no_share(guard: Guard) -> None:
    let = guarded_step(guard, HOME, STILL, asked(), STEP)
    assert let is not None
    assert let.left is None


def test_where_the_guard_would_not_arm_it_says_nothing(guard: Guard) -> None:
    assert guarded_step(guard, np.array(guard.limits.upper) + 0.01, STILL, asked(y=0.01), STEP) is None
