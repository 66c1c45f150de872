"""Protects: what the guard publishes keeps every limit of the arm, whatever it is asked for. One section per row of the safety table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guard_rig import HOME, Rig, make_limits

from wm_core.robot import guard as guards
from wm_core.robot.guard import tighten
from wm_core.robot.guard_config import Sphere, Workspace
from wm_core.robot.guard_status import Code, Mode
from wm_core.robot.inverse_kinematics import solve_pose
from wm_core.robot.rotation import pose_error
from wm_core.robot.singularity import condition_number

OPEN = Workspace()
WIDE = Workspace(min_x=-0.9, max_x=0.9, min_y=-0.9, max_y=0.9, min_z=0.0, max_z=1.1)
BOLD = {"tool_speed.linear": 2.0, "tool_speed.angular": 6.0, "singularity.slow": 1e5, "singularity.halt": 1e6}
"""Only the joints' own limits are left to act."""


def bare_limits() -> Any:
    return make_limits(capsules={}, allowed_contacts=(), table_height=None)


def tool_speed(rig: Rig, velocity: Any) -> tuple[float, float]:
    twist = rig.guard.kinematics.jacobian(rig.q) @ velocity
    return float(np.linalg.norm(twist[:3])), float(np.linalg.norm(twist[3:]))


def margins(rig: Rig) -> tuple[Any, Any]:
    margin = rig.guard.config.joints.position_margin
    return rig.guard.limits.lower + margin, rig.guard.limits.upper - margin


# --- joint position ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_row_joint_position_random_twists_from_random_postures_stay_within_the_margin(make_rig: Any, seed: int) -> None:
    """Never more than 0.1 mrad past the margin, |dv| <= a dt (1 + 1e-6); benchmarks/guard_step.py does it with 1e5 twists."""
    rng = np.random.default_rng(seed)
    rig = make_rig(BOLD | {"joints.velocity_fraction": 1.0}, limits=bare_limits(), workspace=OPEN, armed=False)
    lower, upper = margins(rig)
    near = np.where(rng.random(6) < 0.5, lower + rng.uniform(0, 0.2, 6), upper - rng.uniform(0, 0.2, 6))
    rig.q = np.where(rng.random(6) < 0.6, near, rng.uniform(lower, upper))
    assert rig.arm().accepted
    step = rig.guard.limits.acceleration * rig.period * (1 + 1e-6)
    last, named, reached = np.zeros(6), False, math.inf
    for index in range(1000):
        if index % 200 == 0:
            direction = rng.normal(size=6)
        twist = direction + 0.2 * rng.normal(size=6)
        result = rig.tick(rig.command(twist[:3], twist[3:]) if index % 5 == 0 else None)
        after = rig.q + result.joint_velocity * rig.period
        assert (after >= lower - 1e-4).all()
        assert (after <= upper + 1e-4).all()
        assert (np.abs(result.joint_velocity - last) <= step).all()
        last = result.joint_velocity
        named = named or any(name.startswith("joint_position:") for name in result.active)
        reached = min(reached, float(np.minimum(after - lower, upper - after).min()))
    assert named
    assert reached < 0.02, "the test never came near a limit"
    assert rig.is_armed()


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("joint", [0, 2, 5])
def test_row_joint_position_started_5_mrad_outside_only_moves_inward_and_slowly(make_rig: Any, joint: int, side: float) -> None:
    rig = make_rig(BOLD, limits=bare_limits(), workspace=OPEN, armed=False)
    lower, upper = margins(rig)
    edge = (upper if side > 0 else lower)[joint]
    rig.q[joint] = edge + side * 0.005
    assert rig.arm().accepted
    jacobian = rig.guard.kinematics.jacobian(rig.q)
    outward = jacobian @ (np.eye(6)[joint] * side * 0.3)
    for _ in range(60):
        result = rig.tick(rig.command(0.1 * outward[:3], 0.1 * outward[3:]))
        assert side * result.joint_velocity[joint] <= 1e-9
    assert side * (rig.q[joint] - edge) <= 0.005 + 1e-9
    for _ in range(400):
        before = rig.q[joint]
        result = rig.tick(rig.command(-0.1 * outward[:3], -0.1 * outward[3:]))
        if side * (before - edge) > 1e-3:
            assert abs(result.joint_velocity[joint]) <= 0.0175 + 1e-6
    assert side * (rig.q[joint] - edge) < 0.0
    assert rig.state.counters.unverified == 0


def test_row_joint_position_past_the_hard_limit_latches(rig: Rig) -> None:
    rig.arm_follows = False
    rig.q = rig.q.copy()
    rig.q[2] = rig.guard.limits.upper[2] + 0.0086
    assert rig.tick().code is not Code.PAST_LIMIT
    rig.q[2] = rig.guard.limits.upper[2] + 0.0088
    result = rig.tick()
    assert (result.mode, result.code) == (Mode.STOPPED, Code.PAST_LIMIT)
    assert "elbow_joint by 0.0088 rad" in result.text


# --- joint velocity, acceleration, jerk --------------------------------------------------------------------------------------------


def differentiated(rig: Rig) -> tuple[Any, Any, Any]:
    published = np.vstack([np.zeros((2, 6)), rig.published])
    acceleration = np.diff(published, axis=0) / rig.period
    return published[2:], acceleration[1:], np.diff(acceleration, axis=0) / rig.period


@pytest.mark.parametrize("seed", range(5))
def test_row_velocity_acceleration_jerk_of_what_was_published(make_rig: Any, seed: int) -> None:
    """Half the URDF's velocity; acceleration always; jerk in every tick that does not name it."""
    rng = np.random.default_rng(seed)
    rig = make_rig({"tool_speed.linear": 2.0, "tool_speed.angular": 6.0}, limits=bare_limits(), workspace=WIDE)
    for index in range(1000):
        moves = index % 37 == 0
        twist = rng.normal(size=6) * (0.2, 0.2, 0.2, 0.5, 0.5, 0.5)
        rig.tick(rig.command(twist[:3], twist[3:], frame="tool0" if rng.random() < 0.5 else "base_link") if moves else None)
    velocity, acceleration, jerk = differentiated(rig)
    limits = rig.guard.limits
    assert (np.abs(velocity) <= 0.5 * limits.velocity * (1 + 1e-6)).all()
    assert (np.abs(velocity).max(axis=0) > 0.1 * limits.velocity).any(), "hardly moved"
    assert (np.abs(acceleration) <= limits.acceleration * (1 + 1e-6)).all()
    named = np.array(["jerk" in result.active or "braking" in result.active for result in rig.results])
    assert (np.abs(jerk[~named]) <= limits.jerk * (1 + 1e-6) + 1e-5).all()
    assert named.mean() < 0.1


def test_row_jerk_is_kept_on_the_way_to_a_joint_limit(make_rig: Any) -> None:
    """The aim looks far enough ahead that an ordinary approach needs no more jerk than allowed."""
    rig = make_rig(BOLD, limits=bare_limits(), workspace=OPEN, armed=False)
    upper = margins(rig)[1]
    rig.q[0] = upper[0] - 0.8
    assert rig.arm().accepted
    for _ in range(600):
        pan = rig.guard.kinematics.jacobian(rig.q)[:, 0]
        rig.tick(rig.command(0.1 * pan[:3], 0.1 * pan[3:]))
    assert not any("jerk" in result.active for result in rig.results)
    assert upper[0] - 0.01 < rig.q[0] <= upper[0] + 1e-9


@pytest.mark.parametrize("field", ["velocity", "acceleration", "jerk"])
def test_row_velocity_acceleration_jerk_zero_is_a_limit(make_rig: Any, field: str) -> None:
    values = getattr(make_limits(), field).copy()
    values[0] = 0.0
    rig = make_rig(limits=make_limits(**{field: values}))
    rig.drive(200, (0.01, 0.02, 0.0), (0.0, 0.0, 0.05))
    assert rig.q[0] == HOME[0]


# --- end-effector speed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.3, -0.8, 0.2), (-0.5, 0.5, 0.5)])
def test_row_tool_speed_1e12_in_a_quarter_out_direction_kept(rig: Rig, direction: tuple[float, float, float]) -> None:
    unit = np.array(direction) / np.linalg.norm(direction)
    for _ in range(60):
        result = rig.tick(rig.command(1e12 * 0.1 * unit))
    linear, angular = tool_speed(rig, result.joint_velocity)
    assert linear == pytest.approx(0.25, abs=1e-6)
    assert angular < 1e-6
    assert np.linalg.norm(result.twist[:3] / linear - unit) <= 1e-6
    assert result.twist == pytest.approx(rig.guard.kinematics.jacobian(rig.q) @ result.joint_velocity)
    assert "tool_speed" in result.active
    assert result.scale == pytest.approx(0.25e-12, rel=1e-3)


def test_row_tool_speed_the_whole_twist_is_scaled(rig: Rig) -> None:
    asked = np.array([0.01, -0.02, 0.01, 0.1, 0.05, -0.1])  # per 0.1 s: 0.24 m/s but 1.5 rad/s
    for _ in range(60):
        result = rig.tick(rig.command(asked[:3], asked[3:]))
    assert np.linalg.norm(result.twist[3:]) == pytest.approx(0.6, abs=1e-6)
    np.testing.assert_allclose(result.twist / np.linalg.norm(result.twist), asked / np.linalg.norm(asked), atol=1e-6)
    assert result.scale == pytest.approx(0.6 / 1.5, rel=1e-3)


def test_a_twist_in_the_tool_frame_turns_with_the_tool(rig: Rig) -> None:
    """At home the tool points down: its z is the base's -z."""
    for _ in range(60):
        result = rig.tick(rig.command((0.0, 0.0, 0.01), frame="tool0"))
    np.testing.assert_allclose(result.twist, (0.0, 0.0, -0.1, 0.0, 0.0, 0.0), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_row_tool_speed_is_never_exceeded(make_rig: Any, seed: int) -> None:
    rig = make_rig(workspace=WIDE)
    rng = np.random.default_rng(seed)
    for index in range(800):
        twist = rng.normal(size=6) * 10.0 ** rng.uniform(-2, 12)
        result = rig.tick(rig.command(twist[:3], twist[3:]) if index % 20 == 0 else None)
        linear, angular = tool_speed(rig, result.joint_velocity)
        assert linear <= 0.25 + 1e-6
        assert angular <= 0.6 + 1e-6


# --- delta per policy step ---------------------------------------------------------------------------------------------------------


def test_row_delta_per_step_is_clamped_and_both_deltas_are_reported(make_rig: Any) -> None:
    rig = make_rig(workspace=WIDE)
    rig.drive(60, (0.10, 0.0, 0.0))
    rig.tick(rig.command((0.10, 0.0, 0.0), plan_id="one", step_index=7))
    for _ in range(19):
        rig.tick()
    start = rig.results[-1]
    result = rig.tick(rig.command((0.0, 0.01, 0.0), plan_id="two", step_index=8))
    assert start.executed is None
    executed = result.executed
    assert (executed.plan_id, executed.step_index) == ("one", 7)
    assert executed.duration == pytest.approx(0.1)
    np.testing.assert_allclose(executed.requested, (0.10, 0, 0, 0, 0, 0))
    np.testing.assert_allclose(executed.executed, (0.025, 0, 0, 0, 0, 0), atol=2e-4)
    assert executed.executed[0] <= 0.025 + 1e-9
    assert executed.scale == pytest.approx(0.25, abs=2e-3)


def test_row_delta_per_step_what_was_executed_is_what_the_tool_moved(rig: Rig) -> None:
    """Rotation is composed: the reported delta takes the pose at the start of the step to the one at its end."""
    poses, reports = [], []
    for index in range(20):
        command = rig.command((0.01, 0.005 * math.sin(index), 0.0), (0.02, 0.0, 0.05), step_index=index, frame="tool0")
        for tick in range(20):
            result = rig.tick(command if tick == 0 else None)
            if tick == 0:
                poses.append(rig.tool())
            if result.executed is not None:
                reports.append(result.executed)
    assert [report.step_index for report in reports] == list(range(19))
    for index, report in enumerate(reports):
        np.testing.assert_allclose(report.executed, pose_error(poses[index + 1], poses[index]), atol=1e-9)


def test_row_delta_per_step_is_reported_when_the_command_expires_and_when_the_guard_stops(rig: Rig) -> None:
    rig.tick(rig.command((0.01, 0.0, 0.0), step_index=3))
    rig.rest(100)
    assert [r.executed.step_index for r in rig.results if r.executed] == [3]
    rig.tick(rig.command((0.01, 0.0, 0.0), step_index=4))
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "button", rig.now)
    rig.rest(100)
    assert [r.executed.step_index for r in rig.results if r.executed] == [3, 4]


# --- gripper -----------------------------------------------------------------------------------------------------------------------


def test_row_gripper_is_kept_in_range_and_rate_limited(rig: Rig) -> None:
    assert rig.tick().gripper is None
    assert rig.tick(rig.command(gripper=0.0)).gripper == 0.0
    seen = [rig.tick(rig.command(gripper=7.0)).gripper for _ in range(150)]
    assert max(np.diff([0.0, *seen])) <= rig.guard.config.gripper.speed * rig.period + 1e-12
    assert seen[-1] == 1.0
    assert all(0.0 <= opening <= 1.0 for opening in seen)


# --- workspace box, keep-out spheres -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wall", [0.0, 0.1, -0.05])
def test_row_workspace_floor_holds_also_at_exactly_zero(make_rig: Any, wall: float) -> None:
    """A limit of 0.0 must not vanish: the tool comes to the inflated floor and no lower."""
    rig = make_rig(limits=bare_limits(), workspace=Workspace(min_z=wall))
    for _ in range(800):
        result = rig.tick(rig.command((0.0, 0.0, -0.05)))
        assert rig.tool()[2, 3] >= wall + 0.005 - 1e-4
    assert rig.tool()[2, 3] < wall + 0.008
    assert "workspace:min_z" in result.active
    assert result.code is Code.LIMITED
    assert rig.state.counters.relaxed == 0


def test_an_open_side_is_open(make_rig: Any) -> None:
    rig = make_rig(limits=bare_limits(), workspace=Workspace(max_z=0.6))
    rig.drive(500, (0.0, 0.0, -0.02))
    assert rig.tool()[2, 3] < 0.0


def test_row_workspace_sliding_along_a_wall_goes_on(make_rig: Any) -> None:
    rig = make_rig(limits=bare_limits(), workspace=Workspace(min_z=0.18))
    rig.drive(200, (0.0, 0.01, -0.01))
    before = rig.tool()[1, 3]
    result = rig.drive(100, (0.0, 0.01, -0.01))
    assert rig.tool()[1, 3] - before > 0.04
    assert result.twist[1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_row_workspace_every_wall_holds_at_full_speed(make_rig: Any, axis: int) -> None:
    for sign in (-1.0, 1.0):
        centre = np.array([0.5, 0.0, 0.2])
        name = f"{'min' if sign < 0 else 'max'}_{'xyz'[axis]}"
        rig = make_rig(limits=bare_limits(), workspace=Workspace(**{name: float(centre[axis] + sign * 0.08)}))
        for _ in range(300):
            rig.tick(rig.command(np.eye(3)[axis] * sign))
            assert sign * (rig.tool()[axis, 3] - centre[axis]) <= 0.075 + 1e-4
        assert sign * (rig.tool()[axis, 3] - centre[axis]) > 0.07
        assert rig.state.counters.relaxed == 0


def test_row_keep_out_sphere_is_not_entered_and_can_be_left(make_rig: Any) -> None:
    centre, radius = np.array([0.62, 0.01, 0.2]), 0.05
    rig = make_rig(limits=bare_limits(), workspace=WIDE, keep_out=(Sphere(tuple(centre), radius),))
    nearest = math.inf
    for _ in range(500):
        rig.tick(rig.command((0.02, 0.0, 0.0)))
        nearest = min(nearest, float(np.linalg.norm(rig.tool()[:3, 3] - centre)))
    assert radius + 0.005 - 1e-4 <= nearest < radius + 0.007
    assert any("keep_out:0" in result.active for result in rig.results)
    rig.drive(100, (-0.02, 0.0, 0.0))
    assert np.linalg.norm(rig.tool()[:3, 3] - centre) > radius + 0.05


def test_row_barrier_that_cannot_be_kept_is_relaxed_alone_and_latches_after_5_ticks(make_rig: Any) -> None:
    """A wall that appears right before a fast tool: the joint limits still hold, the status says so, and it latches."""
    rig = make_rig(limits=bare_limits(), workspace=OPEN)
    rig.drive(60, (0.025, 0.0, 0.0))
    config = replace(rig.guard.config, workspace=Workspace(max_x=float(rig.tool()[0, 3]) + 0.006))
    rig.guard = tighten(rig.guard, config, rig.state)
    codes = []
    for _ in range(40):
        before = rig.velocity
        result = rig.tick(rig.command((0.025, 0.0, 0.0)))
        assert (np.abs(result.joint_velocity - before) <= rig.guard.limits.acceleration * rig.period * (1 + 1e-6)).all()
        codes.append(result.code)
    assert codes[:5] == [Code.BARRIER_RELAXED] * 5
    assert codes[5] is Code.BARRIER_STUCK
    assert result.mode is Mode.STOPPED
    assert not rig.velocity.any()


# --- self collision, table ---------------------------------------------------------------------------------------------------------


def pose_with(position: Any) -> Any:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = position
    return pose


def test_row_table_slows_from_50_mm_and_stops_at_20_mm(make_rig: Any) -> None:
    """The tool point may go to the floor of its box; the wrist above it may not come down on the table."""
    rig = make_rig(workspace=OPEN)
    codes, clearances = [], []
    for _ in range(900):
        codes.append(rig.tick(rig.command((0.0, 0.0, -0.025))).code)
        clearances.append(float(rig.guard.collision.clearances(rig.guard.kinematics.posture(rig.q)).min()))
    assert Code.COLLISION_SLOW in codes
    assert 0.019 < min(clearances) < 0.03
    first = codes.index(Code.COLLISION_SLOW)
    assert clearances[first - 1] == pytest.approx(0.05, abs=0.003)
    assert any(name.startswith("table:") for name in rig.results[-1].active)


def test_row_self_collision_stops_and_leaving_is_free(make_rig: Any) -> None:
    """Drawn toward its own base; the way back out is not slowed."""
    rig = make_rig({"singularity.slow": 1e5, "singularity.halt": 1e6}, workspace=OPEN)
    for _ in range(1500):
        result = rig.tick(rig.command((-0.02, 0.0, -0.0)))
    clearance = float(rig.guard.collision.clearances(rig.guard.kinematics.posture(rig.q)).min())
    assert 0.0185 <= clearance < 0.03
    assert result.code in (Code.COLLISION_SLOW, Code.COLLISION_STOP)
    assert any(name.startswith("collision:") for name in result.active)
    before = rig.tool()[0, 3]
    rig.results.clear()
    rig.drive(200, (0.01, 0.0, 0.0))
    assert not any(name.startswith("collision:") for result in rig.results for name in result.active)
    assert rig.tool()[0, 3] - before > 0.04


# --- singularity -------------------------------------------------------------------------------------------------------------------


def nearly_straight(rig: Rig, elbow: float) -> Any:
    q = HOME.copy()
    q[1], q[2], q[3] = -1.2, elbow, -1.2
    return q


def elbow_for(rig: Rig, low: float, high: float) -> Any:
    """A posture with the elbow bent just so much that the condition number lies between `low` and `high`."""
    for elbow in np.linspace(1.5, 0.0, 1500):
        q = nearly_straight(rig, elbow)
        if low < condition_number(rig.guard.kinematics.jacobian(q)) < high:
            return q
    raise AssertionError("no such posture")


def stretch(rig: Rig) -> Any:
    """The twist (6,) that straightens the elbow, per 0.1 s."""
    return 0.1 * (rig.guard.kinematics.jacobian(rig.q) @ np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("low", "high", "code"), [(10.0, 15.0, Code.OK), (20.0, 25.0, Code.SINGULARITY_SLOW), (31.0, 40.0, Code.SINGULARITY_HALT)]
)
def test_row_singularity_one_fixed_state_per_status(make_rig: Any, low: float, high: float, code: Code) -> None:
    rig = make_rig(limits=bare_limits(), workspace=OPEN, armed=False)
    rig.q = elbow_for(rig, low, high)
    assert rig.arm().accepted
    twist = stretch(rig)
    result = rig.tick(rig.command(twist[:3], twist[3:]))
    assert result.code is code
    assert ("singularity" in result.active) == (code is not Code.OK)


def test_row_singularity_the_approach_ends_before_it_and_leaving_is_free(make_rig: Any) -> None:
    rig = make_rig(limits=bare_limits(), workspace=OPEN, armed=False)
    rig.q = elbow_for(rig, 10.0, 15.0)
    assert rig.arm().accepted
    for _ in range(1500):
        twist = stretch(rig)
        result = rig.tick(rig.command(twist[:3], twist[3:]))
        assert condition_number(rig.guard.kinematics.jacobian(rig.q)) < 32.0
    assert result.code in (Code.SINGULARITY_SLOW, Code.SINGULARITY_HALT)
    assert result.scale < 0.1
    for _ in range(60):
        twist = -stretch(rig)
        result = rig.tick(rig.command(twist[:3], twist[3:]))
    assert result.scale > 0.9
    assert "singularity" not in result.active


@pytest.mark.parametrize("q", [np.zeros(6), np.array([0.3, -1.2, 0.0, 0.4, 1.0, 0.0]), np.array([0.3, -1.2, 1.0, 0.4, 0.0, 0.0])])
def test_row_singularity_leaving_an_exact_one_is_possible(make_rig: Any, q: Any) -> None:
    rig = make_rig(limits=bare_limits(), workspace=OPEN, q=q)
    assert condition_number(rig.guard.kinematics.jacobian(rig.q)) > 1000.0
    target = q + 0.3 * np.array([0.0, -1.0, 1.0, 0.5, 1.0, 0.0])
    for _ in range(1500):
        twist = rig.guard.kinematics.jacobian(0.5 * (rig.q + target)) @ (target - rig.q)
        rig.tick(rig.command(twist[:3], twist[3:]))
    assert condition_number(rig.guard.kinematics.jacobian(rig.q)) < 50.0
    np.testing.assert_allclose(rig.q, target, atol=0.01)


def test_reaching_a_pose_with_the_guard_in_between(rig: Rig) -> None:
    """An ordinary motion is not in anybody's way: a pose 12 cm off is reached, unscaled."""
    goal = solve_pose(rig.guard.kinematics, pose_with((0.42, 0.08, 0.25)), HOME)
    target = rig.guard.kinematics.tool_pose(goal)
    for _ in range(600):
        delta = np.clip(pose_error(target, rig.tool()) * 0.2, -0.01, 0.01)
        result = rig.tick(rig.command(delta[:3], delta[3:]))
    assert np.abs(pose_error(target, rig.tool())).max() < 1e-3
    assert result.mode is Mode.ARMED
    assert {r.code for r in rig.results} <= {Code.OK}
