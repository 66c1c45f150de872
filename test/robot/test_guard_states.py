"""Protects: who may arm, what stops for good, and that nothing but `arm` lifts it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from guard_rig import WIRING, Rig

from wm_core.errors import ConfigurationError
from wm_core.robot import guard as guards
from wm_core.robot.command import Measurement, Now
from wm_core.robot.guard_config import Sphere, Workspace
from wm_core.robot.guard_status import Code, Mode

# --- start and stop ----------------------------------------------------------------------------------------------------------------


def test_row_start_boots_disarmed_silent_and_deaf(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    for _ in range(50):
        result = rig.tick(rig.command((0.02, 0.0, 0.0)))
        assert (result.mode, result.code) == (Mode.DISARMED, Code.DISARMED)
        assert not result.publish
        assert not result.joint_velocity.any()


def test_row_start_an_armed_guard_without_commands_holds_still(rig: Rig) -> None:
    result = rig.rest(100)
    assert (result.mode, result.code) == (Mode.ARMED, Code.IDLE)
    assert result.publish
    assert not np.any(rig.published)
    assert result.active == ()


def none(rig: Rig) -> guards.ArmReply:
    rig.state, reply = guards.arm(rig.guard, rig.state, None, rig.now, WIRING)
    return reply


def stale(rig: Rig) -> guards.ArmReply:
    rig.tick()
    rig.time += 0.06
    rig.state, reply = guards.arm(rig.guard, rig.state, rig.state.seen, rig.now, WIRING)
    return reply


def old_stamp(rig: Rig) -> guards.ArmReply:
    return rig.arm(measurement=rig.measurement(stamp=rig.time - 0.06))


def drifting(rig: Rig) -> guards.ArmReply:
    return rig.arm(measurement=rig.measurement(velocity=np.array([0, 0, 0, 0, 0.0101, 0])))


def speed_unknown(rig: Rig) -> guards.ArmReply:
    return rig.arm(measurement=rig.measurement(velocity=np.zeros(0)))


def moved_between_states(rig: Rig) -> guards.ArmReply:
    rig.tick(None, rig.measurement(velocity=np.zeros(0)))
    rig.q[3] += 0.001
    return rig.arm(measurement=rig.measurement(velocity=np.zeros(0), stamp=rig.time + 0.001))


def outside(rig: Rig) -> guards.ArmReply:
    rig.q[2] = rig.guard.limits.lower[2] - 0.01
    return rig.arm()


def commanded(rig: Rig) -> guards.ArmReply:
    rig.tick(rig.command((0.001, 0.0, 0.0)))
    for _ in range(97):
        rig.tick(rig.command())
    return rig.arm()


def garbage(rig: Rig) -> guards.ArmReply:
    rig.tick(rig.command((np.nan, 0.0, 0.0)))
    return rig.arm()


def nobody_listens(rig: Rig) -> guards.ArmReply:
    return rig.arm(guards.Wiring(listeners=0, other_publishers=0))


def somebody_else(rig: Rig) -> guards.ArmReply:
    return rig.arm(guards.Wiring(listeners=1, other_publishers=1))


def invalid_state(rig: Rig) -> guards.ArmReply:
    return rig.arm(measurement=rig.measurement(position=np.full(6, np.nan)))


def estop_held(rig: Rig) -> guards.ArmReply:
    return rig.arm(guards.Wiring(listeners=1, other_publishers=0, estop=True))


REFUSALS = {
    estop_held: Code.REFUSED_ESTOP,
    none: Code.REFUSED_NO_JOINT_STATE,
    invalid_state: Code.REFUSED_NO_JOINT_STATE,
    stale: Code.REFUSED_STALE_JOINT_STATE,
    old_stamp: Code.REFUSED_STALE_JOINT_STATE,
    drifting: Code.REFUSED_MOVING,
    speed_unknown: Code.REFUSED_MOVING,
    moved_between_states: Code.REFUSED_MOVING,
    outside: Code.REFUSED_OUTSIDE_LIMITS,
    commanded: Code.REFUSED_INPUT_ACTIVE,
    garbage: Code.REFUSED_INPUT_ACTIVE,
    nobody_listens: Code.REFUSED_NO_LISTENER,
    somebody_else: Code.REFUSED_OTHER_PUBLISHER,
}


@pytest.mark.parametrize(("attempt", "code"), REFUSALS.items(), ids=[attempt.__name__ for attempt in REFUSALS])
def test_row_start_every_refusal_of_arm(make_rig: Any, attempt: Any, code: Code) -> None:
    rig = make_rig(armed=False)
    reply = attempt(rig)
    assert (reply.accepted, reply.code) == (False, code)
    assert reply.text.startswith("Not armed: ")
    assert rig.state.mode is Mode.DISARMED
    assert not rig.tick().publish


def test_row_start_every_refusal_has_its_test() -> None:
    assert {code for code in Code if code.startswith("REFUSED_")} == set(REFUSALS.values())


def test_row_start_arm_is_granted_when_all_holds_and_again_when_armed(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    rig.tick(rig.command((0.01, 0.0, 0.0)))
    for _ in range(110):
        rig.tick(rig.command())  # zero is as good as silence
    assert rig.arm().accepted
    reply = rig.arm()
    assert reply.accepted
    assert "already" in reply.text
    assert rig.drive(20, (0.01, 0.0, 0.0)).twist[0] > 0.0


def test_row_start_arm_is_granted_without_velocities_once_two_states_agree(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    rig.tick(None, rig.measurement(velocity=np.zeros(0)))
    assert rig.arm(measurement=rig.measurement(velocity=np.zeros(0), stamp=rig.time + 0.001)).accepted


def test_row_stop_latches_brakes_and_only_arm_leaves_it(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    speed = rig.velocity.copy()
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "service", rig.now)
    ticks = 0
    while rig.velocity.any():
        before = rig.velocity
        result = rig.tick(rig.command((0.0, 0.02, 0.0)))
        ticks += 1
        assert (np.abs(result.joint_velocity - before) <= rig.guard.limits.acceleration * rig.period * (1 + 1e-6)).all()
    assert ticks * rig.period <= (np.abs(speed) / rig.guard.limits.acceleration).max() + rig.period
    for _ in range(150):
        result = rig.tick(rig.command((0.0, 0.02, 0.0)))
        assert (result.mode, result.code, result.publish) == (Mode.STOPPED, Code.ESTOP, True)
        assert not result.joint_velocity.any()
    assert "service" in result.text
    assert rig.arm().code is Code.REFUSED_INPUT_ACTIVE
    rig.rest(110)
    assert rig.arm().accepted
    assert rig.is_armed()
    assert rig.state.counters.latched == 1


def test_row_stop_the_first_reason_stays(rig: Rig) -> None:
    rig.state = guards.stop(rig.guard, rig.state, Code.SECOND_PUBLISHER, "/other", rig.now)
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "service", rig.now)
    result = rig.tick()
    assert result.code is Code.SECOND_PUBLISHER
    assert "/other" in result.text


def test_row_stop_works_while_disarmed(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "", rig.now)
    assert rig.tick().mode is Mode.STOPPED
    assert rig.arm().accepted


def test_arm_is_refused_while_still_braking(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "", rig.now)
    rig.tick()
    reply = rig.arm(measurement=rig.measurement(velocity=np.zeros(6), stamp=rig.time + 0.001))
    assert reply.code is Code.REFUSED_MOVING
    assert "braking" in reply.text


# --- tracking error ------------------------------------------------------------------------------------------------------------------


def test_row_tracking_error_latches_after_it_lasted(rig: Rig) -> None:
    rig.arm_follows = False
    rig.q = rig.q + np.array([0, 0.21, 0, 0, 0, 0])
    began = rig.time
    while rig.is_armed():
        result = rig.tick()
        assert rig.time - began < 0.22
    assert rig.time - began >= 0.2
    assert result.code is Code.TRACKING_ERROR
    assert "shoulder_lift_joint is 0.210 rad away" in result.text


def test_row_tracking_error_that_passes_does_not_latch(rig: Rig) -> None:
    rig.arm_follows = False
    home = rig.q
    for _ in range(5):
        rig.q = home + np.array([0, 0.3, 0, 0, 0, 0])
        rig.rest(38)
        rig.q = home
        rig.rest(2)
    assert rig.is_armed()


def test_row_tracking_the_commanded_position_is_integrated_from_what_was_published(rig: Rig) -> None:
    """A measurement that lags and sags changes nothing of the motion."""
    perfect = Rig(rig.guard)
    rig.arm_follows = False
    for index in range(200):
        for each in (rig, perfect):
            each.tick(each.command((0.005, 0.002, 0.0)) if index % 10 == 0 else None)
    assert np.abs(rig.q - perfect.q).max() > 0.1
    np.testing.assert_array_equal(rig.published, perfect.published)
    np.testing.assert_allclose(perfect.state.q, perfect.q, atol=1e-12)


# --- ticks and clocks ----------------------------------------------------------------------------------------------------------------


def test_row_clock_backwards_ros_time_disarms_and_brakes(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    earlier = rig.time - 10.0
    results = []
    for index in range(1, 60):
        steady = rig.time + index * rig.period
        state = Measurement(rig.guard.limits.names, rig.q, rig.velocity, earlier + index * rig.period, steady)
        rig.state, result = guards.step(rig.guard, rig.state, None, state, Now(steady, earlier + index * rig.period))
        results.append(result)
    assert all((r.mode, r.code) == (Mode.DISARMED, Code.CLOCK_BACKWARDS) for r in results)
    assert results[0].joint_velocity.any()
    assert results[0].publish
    assert not results[-1].joint_velocity.any()
    assert not results[-1].publish
    speeds = [np.abs(r.joint_velocity).max() for r in results]
    assert speeds == sorted(speeds, reverse=True)
    changes = np.diff([rig.velocity, *(r.joint_velocity for r in results)], axis=0)
    assert (np.abs(changes) <= rig.guard.limits.acceleration * rig.period * (1 + 1e-6)).all()


def test_row_clock_a_guard_that_was_held_up_stops(rig: Rig) -> None:
    """The arm has stopped by itself meanwhile: nothing may set it in motion again."""
    rig.drive(60, (0.0, 0.02, 0.0))
    position = rig.q.copy()
    velocity = rig.velocity.copy()
    rig.arm_follows = False
    rig.q = position + velocity * 0.1
    result = rig.tick(rig.command((0.0, 0.02, 0.0)), elapsed=0.5)
    assert (result.mode, result.code) == (Mode.STOPPED, Code.TICK_STALLED)
    assert not result.joint_velocity.any()
    np.testing.assert_allclose(rig.state.q, rig.q, atol=1e-9)


def test_late_ticks_are_counted_and_integrated_as_long_as_they_lasted(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    for elapsed in (0.004, 0.0074, 0.0076, 0.013, 0.03):
        rig.tick(rig.command((0.0, 0.02, 0.0)), elapsed=elapsed)
    assert rig.state.counters.overruns == 3
    np.testing.assert_allclose(rig.state.q, rig.q, atol=1e-12)
    assert rig.is_armed()


# --- limits changed at run time --------------------------------------------------------------------------------------------------------

TIGHTER = {
    "tool_speed.linear": 0.1,
    "joints.position_margin": 0.2,
    "joints.velocity_fraction": 0.2,
    "barrier.inflation": 0.02,
    "barrier.gain": 2.0,
    "collision.slow": 0.08,
    "singularity.halt": 25.0,
    "command.longest": 0.3,
    "joint_state.latch": 0.1,
    "workspace.min_z": 0.1,
    "workspace.max_x": 0.6,
}
LOOSER = {
    "tool_speed.linear": 0.3,
    "joints.position_margin": 0.05,
    "barrier.inflation": 0.0,
    "barrier.gain": 8.0,
    "collision.stop": 0.01,
    "singularity.halt": 31.0,
    "command.longest": 0.6,
    "joint_state.brake": 0.06,
    "workspace.min_z": -0.1,
    "workspace.max_x": 1.0,
    "rate": 100.0,
}


def changed(rig: Rig, name: str, value: float) -> Any:
    from wm_core.configuration import replace_flat

    return replace_flat(rig.guard.config, {name: value}, "test")


@pytest.mark.parametrize(("name", "value"), TIGHTER.items(), ids=TIGHTER.keys())
def test_row_run_time_a_tighter_limit_is_taken_while_armed(rig: Rig, name: str, value: float) -> None:
    assert guards.tighten(rig.guard, changed(rig, name, value), rig.state).config == changed(rig, name, value)


@pytest.mark.parametrize(("name", "value"), LOOSER.items(), ids=LOOSER.keys())
def test_row_run_time_a_looser_limit_is_refused_while_armed_and_taken_while_disarmed(rig: Rig, name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} from .* to {value}".replace(".", r"\.").replace(r"\.*", ".*")):
        guards.tighten(rig.guard, changed(rig, name, value), rig.state)
    guards.tighten(rig.guard, changed(rig, name, value), guards.initial_state(rig.guard))


def test_row_run_time_walls_and_spheres_may_be_added_not_removed(rig: Rig) -> None:
    config = rig.guard.config
    sphere = Sphere((0.3, 0.3, 0.3), 0.05)
    with_sphere = dataclasses.replace(config, keep_out=(sphere,))
    rig.guard = guards.tighten(rig.guard, with_sphere, rig.state)
    for looser in (config, dataclasses.replace(with_sphere, workspace=Workspace())):
        with pytest.raises(ConfigurationError, match="tighten"):
            guards.tighten(rig.guard, looser, rig.state)


def test_row_run_time_a_tool_that_is_too_fast_for_a_new_limit_slows_within_its_acceleration(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.025, 0.0))
    rig.guard = guards.tighten(rig.guard, changed(rig, "tool_speed.linear", 0.05), rig.state)
    for _ in range(100):
        before = rig.velocity
        result = rig.tick(rig.command((0.0, 0.025, 0.0)))
        assert (np.abs(result.joint_velocity - before) <= rig.guard.limits.acceleration * rig.period * (1 + 1e-6)).all()
    assert np.linalg.norm(result.twist[:3]) == pytest.approx(0.05, abs=1e-6)
    assert result.mode is Mode.ARMED


def test_the_state_is_never_written_to(rig: Rig) -> None:
    """A step from the same state gives the same result, however often it is taken."""
    rig.drive(30, (0.0, 0.02, 0.01))
    state, command, measured = rig.state, rig.command((0.01, 0.0, 0.0)), rig.measurement(stamp=rig.time + 0.001)
    now = Now(rig.time + 0.005, rig.time + 0.005)
    first = guards.step(rig.guard, state, command, measured, now)[1]
    second = guards.step(rig.guard, state, command, measured, now)[1]
    np.testing.assert_array_equal(first.joint_velocity, second.joint_velocity)
    assert first.code == second.code
    assert first.counters == second.counters
