"""Protects: the guard's position is the embedded arm's, however late its ticks are; and its box lies within the one the arm clips at."""

from __future__ import annotations

import math

import numpy as np
from guard_rig import CONFIG, WIRING, Rig, make_config, make_guard

from wm_core import configuration
from wm_core.robot import guard as guards
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard_status import Mode
from wm_core.robot.rotation import pose_error
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

SIM = configuration.read(SimConfig, CONFIG / "sim_arm.yaml")


def test_the_guard_and_a_delta_arm_stay_together_over_30_s_with_late_ticks() -> None:
    """A circle of 5 cm in 4 s; one tick in twenty comes up to 20 ms late. Times are whole steps of the physics."""
    rng = np.random.default_rng(7)
    guard, arm = make_guard({"rate": 250.0}, output_is_delta=True), EmbeddedArm(SIM)
    period, start = guard.config.period, 100.0
    arm.advance(1.0)

    def measured() -> Measurement:
        time = start + arm.time
        return Measurement(guard.limits.names, arm.joint_positions, arm.joint_velocities, time, time)

    def now() -> Now:
        return Now(start + arm.time, start + arm.time)

    state, reply = guards.arm(guard, guards.initial_state(guard), measured(), now(), WIRING)
    assert reply.accepted, reply.text
    sag = arm.joint_targets - state.q
    largest, travelled, due = 0.0, 0.0, arm.time
    while arm.time < 31.0:
        arm.advance(period if rng.random() > 0.05 else period + 0.002 * int(rng.integers(2, 11)))
        command = None
        if arm.time >= due:
            angle, time = 2 * math.pi * arm.time / 4.0, start + arm.time
            delta = np.array([0.0, -math.sin(angle), math.cos(angle)]) * 0.05 * 2 * math.pi / 4.0 * 0.1
            command = DeltaCommand("base_link", delta, np.zeros(3), 0.5, 0.1, time, time + 1.0, time, "circle", 0)
            due = arm.time + 0.1
        state, result = guards.step(guard, state, command, measured(), now())
        assert state.mode is Mode.ARMED, result.text
        gap = pose_error(guard.kinematics.tool_pose(arm.joint_targets - sag), guard.kinematics.tool_pose(state.q))
        largest = max(largest, float(np.linalg.norm(gap[:3])), float(np.linalg.norm(gap[3:])))
        travelled += float(np.linalg.norm(result.delta[:3]))
        arm.command_delta(result.delta[:3], result.delta[3:], result.gripper, period)
    assert state.counters.overruns > 300
    assert travelled > 1.5
    assert largest < 2e-3  # m, rad
    assert np.abs(arm.joint_targets - sag - state.q).max() < 3e-3  # rad


def test_the_delta_of_a_tick_is_exactly_what_the_tool_moves() -> None:
    rig = Rig(make_guard(output_is_delta=True))
    for index in range(60):
        result = rig.tick(rig.command((0.01, 0.01, 0.0), (0.0, 0.05, 0.05)) if index % 10 == 0 else None)
        after = rig.guard.kinematics.tool_pose(rig.state.q + result.joint_velocity * rig.period)
        np.testing.assert_allclose(result.delta, pose_error(after, rig.guard.kinematics.tool_pose(rig.state.q)), atol=1e-12)
    assert np.linalg.norm(result.delta[:3]) > 5e-4
    assert not rig.rest().delta.any()


def test_a_late_tick_advances_by_one_delta_but_by_a_whole_velocity() -> None:
    for output_is_delta, periods in ((True, 1.0), (False, 4.0)):
        rig = Rig(make_guard(output_is_delta=output_is_delta))
        rig.drive(60, (0.0, 0.01, 0.0))
        before, velocity = rig.state.q, rig.state.velocity
        rig.tick(elapsed=4 * rig.period)
        np.testing.assert_allclose(rig.state.q, before + velocity * rig.period * periods, atol=1e-9)


def test_the_box_of_the_guard_lies_within_that_of_the_embedded_arm() -> None:
    box, inflation = make_config().workspace, make_config().barrier.inflation
    assert inflation >= 0.005
    for axis, low, high in zip("xyz", SIM.workspace.low, SIM.workspace.high, strict=True):
        assert getattr(box, f"min_{axis}") >= low
        assert getattr(box, f"max_{axis}") <= high
