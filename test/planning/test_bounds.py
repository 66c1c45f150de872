"""Protects the limits that are put onto candidates: no plan leaves the box, leans too far, or asks a joint for more than it has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pose_problem import LIMITS, SECONDS, START

from wm_core.errors import PlanningError
from wm_core.planning import rotations
from wm_core.planning.bounds import Bounds, JointBounds, StepLimits, ToolState
from wm_core.robot import rotation
from wm_core.robot.inverse_kinematics import solve_pose
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import DOWN
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as embedded

BOUNDS = Bounds(LIMITS, SECONDS)
ACTIONS = arrays(np.float64, (6, 4, 7), elements=st.floats(-3.0, 3.0))
PLACES = st.tuples(st.floats(0.3, 0.64), st.floats(-0.3, 0.3), st.floats(0.02, 0.38))


def poses(actions: np.ndarray, start: ToolState) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, H, 3) and rotation vectors from straight down (N, H, 3) along candidates, by an independent composition."""
    lean = np.empty((*actions.shape[:2], 3))
    for index, candidate in enumerate(actions):
        turned = start.rotation
        for step, action in enumerate(candidate):
            turned = rotation.matrix(action[3:6]) @ turned
            lean[index, step] = rotation.vector(turned @ DOWN.T)
    return start.position + np.cumsum(actions[..., :3], axis=1), lean


@settings(max_examples=60)
@given(ACTIONS, PLACES)
def test_no_candidate_leaves_what_is_allowed(actions: np.ndarray, place: tuple[float, float, float]) -> None:
    start = ToolState(np.array(place), DOWN, 0.5)
    kept = BOUNDS.feasible(actions, start)
    position, lean = poses(kept, start)
    assert (np.linalg.norm(kept[..., :3], axis=-1) <= LIMITS.linear_speed * SECONDS + 1e-9).all()
    assert (np.linalg.norm(kept[..., 3:6], axis=-1) <= LIMITS.angular_speed * SECONDS + 1e-9).all()
    assert (position >= np.array(LIMITS.low) - 1e-9).all()
    assert (position <= np.array(LIMITS.high) + 1e-9).all()
    assert (np.abs(lean) <= np.array(LIMITS.lean) + 5e-3).all()  # a shortened cut follows the arc, not the edge of the box
    assert (kept[..., 6] >= 0.0).all()
    assert (kept[..., 6] <= 1.0).all()


@settings(max_examples=60)
@given(arrays(np.float64, (5, 4, 7), elements=st.floats(-0.01, 0.01)))
def test_what_is_allowed_stays_as_it_is(actions: np.ndarray) -> None:
    actions[..., 6] = 0.4
    np.testing.assert_allclose(BOUNDS.feasible(actions, START), actions, atol=1e-12)


def test_the_direction_of_a_long_step_is_kept() -> None:
    actions = np.zeros((1, 1, 7))
    actions[0, 0, :3] = [0.3, -0.2, 0.1]
    kept = BOUNDS.feasible(actions, START)[0, 0, :3]
    np.testing.assert_allclose(kept / np.linalg.norm(kept), actions[0, 0, :3] / np.linalg.norm(actions[0, 0, :3]))


def test_a_tool_outside_the_box_may_only_come_in() -> None:
    outside = ToolState(np.array([0.70, 0.0, 0.2]), DOWN, 0.5)
    actions = np.zeros((2, 2, 7))
    actions[0, :, 0], actions[1, :, 0] = 0.04, -0.04
    kept = BOUNDS.feasible(actions, outside)
    assert not kept[0, :, 0].any()
    np.testing.assert_allclose(kept[1, :, 0], -0.04)


def embedded_bounds(lower: np.ndarray | None = None) -> tuple[Bounds, ToolState]:
    kinematics = Kinematics(read_chain(embedded.urdf()))
    down = rotation.pose(np.array([0.5, 0.0, 0.2]), DOWN)
    q = solve_pose(kinematics, down, np.array([2.87, -1.53, 1.89, -1.93, -1.57, -1.84]))
    wide = np.full(6, 6.28)
    joints = JointBounds(kinematics, -wide if lower is None else lower, wide, np.full(6, 1.57))
    tool = kinematics.tool_pose(q)
    return Bounds(LIMITS, SECONDS, joints), ToolState(tool[:3, 3], tool[:3, :3], 0.5, q)


def test_joints_follow_their_tool() -> None:
    bounds, start = embedded_bounds()
    actions = np.zeros((20, 1, 7))
    actions[:, 0, :6] = np.random.default_rng(0).uniform(-0.02, 0.02, (20, 6))
    assert bounds.joints is not None
    assert start.joints is not None
    shares, joints = bounds.joints.shares(np.tile(start.joints, (20, 1)), actions[:, 0, :6], SECONDS)
    np.testing.assert_array_equal(shares, 1.0)
    for q, action in zip(joints, actions[:, 0], strict=True):
        tool = bounds.joints.kinematics.tool_pose(q)
        np.testing.assert_allclose(tool[:3, 3] - start.position, action[:3], atol=2e-3)
        np.testing.assert_allclose(rotation.vector(tool[:3, :3] @ start.rotation.T), action[3:6], atol=2e-3)


def test_a_joint_at_its_limit_stops_the_tool() -> None:
    free, start = embedded_bounds()
    assert start.joints is not None
    stuck, _ = embedded_bounds(lower=start.joints - 1e-6)
    generator = np.random.default_rng(1)
    actions = np.zeros((40, 3, 7))
    actions[..., :3] = generator.uniform(-0.025, 0.025, (40, 1, 3))
    kept = stuck.feasible(actions, start)
    np.testing.assert_allclose(free.feasible(actions, start), actions * [1, 1, 1, 1, 1, 1, 0], atol=1e-9)
    assert (np.linalg.norm(kept[:, 0, :3], axis=1) < 1e-3).any()
    # what is left points where it was meant to
    cross = np.cross(kept[:, 0, :3], actions[:, 0, :3])
    assert np.abs(cross).max() < 1e-9


@given(arrays(np.float64, (4, 3), elements=st.floats(-1.5, 1.5)))
def test_rotations_agree_with_matrices(vectors: np.ndarray) -> None:
    turned = rotations.product(rotations.of_vectors(vectors[:2]), rotations.of_vectors(vectors[2:]))
    for index in range(2):
        whole = rotation.matrix(vectors[index]) @ rotation.matrix(vectors[2 + index])
        np.testing.assert_allclose(rotation.from_quaternion(turned[index]), whole, atol=1e-9)
        np.testing.assert_allclose(rotation.matrix(rotations.vectors(turned[index : index + 1])[0]), whole, atol=1e-9)


def test_garbage_is_refused() -> None:
    with pytest.raises(PlanningError, match=r"\(samples, horizon, 7\)"):
        BOUNDS.feasible(np.zeros((3, 6)), START)
    with pytest.raises(PlanningError, match="not finite"):
        BOUNDS.feasible(np.full((1, 1, 7), np.inf), START)
    with pytest.raises(PlanningError, match="box is empty"):
        StepLimits(0.2, 0.6, (0.5, 0.0, 0.0), (0.4, 1.0, 1.0), (0.2, 0.2, 0.2))
