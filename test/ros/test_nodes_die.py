"""Holds: whichever node dies or stalls in motion, the arm comes to rest by itself within its bound, and who is left says why.

Times are differences of header stamps on one clock; benchmarks/stop_when_killed.py repeats the same 20 times each.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from arm_system import GUARD, REACH, ArmSystem
from stopping import GUARD_BOUND, kill_commander, kill_guard

from wm_ros.msg import SafetyStatus


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_arm_is_at_rest_when_the_guard_ends(new_system: Callable[[], ArmSystem], signum: signal.Signals) -> None:
    system = new_system().bring_up()
    assert kill_guard(system, signum).taken <= GUARD_BOUND


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_arm_is_at_rest_when_the_commander_ends(new_system: Callable[[], ArmSystem], signum: signal.Signals) -> None:
    stop = kill_commander(new_system().bring_up(), signum)
    assert stop.taken <= stop.bound


def test_a_guard_that_was_stopped_latches_when_it_wakes(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system().bring_up()
    kill_guard(system, signal.SIGSTOP)
    system.processes["safety_guard"].send(signal.SIGCONT)
    status = system.await_status(lambda status: status.state == SafetyStatus.STOPPED, "the guard latches")
    assert status.code in ("TICK_STALLED", "JOINT_STATE_STALE")
    system.await_rest()


def test_the_guard_latches_and_says_why_when_the_arm_dies(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system().bring_up()
    system.arm()
    system.feed((0.0, 0.01, 0.0))
    system.await_motion()
    system.processes["sim_arm"].send(signal.SIGKILL)
    status = system.await_status(lambda status: status.state == SafetyStatus.STOPPED, "the guard latches")
    assert status.code == "JOINT_STATE_STALE"
    assert "joint states ceased" in status.text
    answer = system.observer.trigger(f"{GUARD}/arm")
    assert not answer.success
    assert "joint state" in answer.message


def test_reach_pose_gives_up_when_the_guard_dies(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system().bring_up()
    system.arm()
    assert system.observer.trigger(f"{REACH}/trace").success
    system.await_motion()
    os.kill(system.processes["safety_guard"].pid, signal.SIGKILL)
    system.await_rest()
