"""Protects: nothing from before arming or from another time moves the arm; zero follows every motion; only an arm at rest disarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from guard_rig import WIRING, Rig

from wm_core.configuration import replace_flat
from wm_core.errors import ConfigurationError
from wm_core.robot import guard as guards
from wm_core.robot.command import Measurement, Now
from wm_core.robot.guard_status import Code, Mode


def restart(rig: Rig) -> None:
    """Simulated time begins again from 0."""
    rig.time = 0.0
    rig.velocity = np.zeros(6)


@pytest.mark.parametrize("ticked", [True, False], ids=["a tick sees it first", "arm sees it first"])
def test_row_clock_time_that_begins_again_does_not_bar_arming(rig: Rig, ticked: bool) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    rig.tick(rig.command(frame=""))
    rig.rest()
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "", rig.now)
    restart(rig)
    if ticked:
        rig.rest(5)
    assert rig.arm().code is Code.REFUSED_INPUT_ACTIVE  # for as long as after any input
    rig.rest(105)
    reply = rig.arm()
    assert reply.accepted, reply.text
    assert rig.drive(30, (0.0, 0.01, 0.0)).twist[1] > 0.05


def test_row_clock_time_that_begins_again_keeps_no_time_and_no_command(rig: Rig) -> None:
    rig.drive(5, (0.0, 0.02, 0.0))
    rig.tick(rig.command(frame=""))
    restart(rig)
    rig.tick()
    state = rig.state
    assert (state.mode, state.code) == (Mode.DISARMED, Code.CLOCK_BACKWARDS)
    assert (state.hold, state.rejected_at, state.tracking_since, state.armed_at) == (None, (), None, None)
    assert state.moved_input is not None
    assert state.moved_input <= rig.time


def test_row_start_a_command_from_before_arming_is_not_obeyed(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    early = rig.command((0.0, 0.02, 0.0), received=rig.time + rig.period)  # the instant at which `arm` is called
    assert rig.arm().accepted
    result = rig.tick(early)
    assert "before the guard was armed" in result.refused
    assert (result.counters.late, result.counters.commands) == (1, 0)
    assert rig.state.moved_input == rig.time
    assert not rig.rest(20).joint_velocity.any()
    assert rig.drive(20, (0.0, 0.02, 0.0)).twist[1] > 0.0


def test_row_start_a_command_that_comes_too_late_still_counts_as_input(make_rig: Any) -> None:
    rig = make_rig(armed=False)
    rig.tick(rig.command((0.0, 0.02, 0.0), valid_until=rig.time - 1.0))
    assert rig.arm().code is Code.REFUSED_INPUT_ACTIVE


def test_row_stop_zero_follows_when_a_stall_ends_the_braking_of_a_disarmed_arm(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    earlier = rig.time - 10.0
    steady = rig.time + rig.period

    def tick(steady: float, ros: float) -> guards.GuardResult:
        measured = Measurement(rig.guard.limits.names, rig.q, np.zeros(6), ros, steady)
        rig.state, result = guards.step(rig.guard, rig.state, None, measured, Now(steady, ros))
        return result

    braking = tick(steady, earlier)
    assert braking.mode is Mode.DISARMED
    assert braking.joint_velocity.any()
    stalled = tick(steady + 0.5, earlier + 0.5)
    assert stalled.mode is Mode.DISARMED
    assert not stalled.joint_velocity.any()
    assert stalled.publish
    assert not tick(steady + 0.505, earlier + 0.505).publish


def test_disarm_at_rest_and_only_then(rig: Rig) -> None:
    rig.drive(60, (0.0, 0.02, 0.0))
    before = rig.state
    rig.state, reply = guards.disarm(rig.guard, rig.state, rig.now)
    assert (reply.accepted, reply.code) == (False, Code.STILL_MOVING)
    assert rig.state is before
    rig.rest()
    rig.state, reply = guards.disarm(rig.guard, rig.state, rig.now)
    assert (reply.accepted, reply.code) == (True, Code.DISARMED)
    result = rig.tick(rig.command((0.0, 0.02, 0.0)))
    assert (result.mode, result.code, result.publish) == (Mode.DISARMED, Code.DISARMED, False)
    assert not result.joint_velocity.any()


def test_disarm_is_what_loosening_a_limit_needs(rig: Rig) -> None:
    looser = replace_flat(rig.guard.config, {"tool_speed.linear": 0.3}, "test")
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "", rig.now)
    rig.tick()
    with pytest.raises(ConfigurationError, match="mend: call ~/disarm first"):
        guards.tighten(rig.guard, looser, rig.state)
    rig.state, reply = guards.disarm(rig.guard, rig.state, rig.now)
    assert reply.accepted
    assert guards.tighten(rig.guard, looser, rig.state).config == looser


def test_tightening_keeps_the_kind_of_output(make_rig: Any) -> None:
    rig = make_rig(output_is_delta=True)
    slower = replace_flat(rig.guard.config, {"tool_speed.linear": 0.1}, "test")
    assert guards.tighten(rig.guard, slower, rig.state).output_is_delta


def test_a_held_emergency_stop_bars_arming_until_it_is_released(rig: Rig) -> None:
    rig.state = guards.stop(rig.guard, rig.state, Code.ESTOP, "", rig.now)
    rig.tick()
    reply = rig.arm(guards.Wiring(listeners=1, other_publishers=0, estop=True))
    assert (reply.accepted, reply.code) == (False, Code.REFUSED_ESTOP)
    assert rig.arm(WIRING).accepted
