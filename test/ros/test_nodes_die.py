"""Protects the arm from nodes that die or stall: it comes to rest by itself within a bound, and who is left says why.

Times are differences of header stamps on one clock; benchmarks/stop_when_killed.py repeats the same 20 times each.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from arm_system import GUARD, REACH, ArmSystem
from stopping import kill_commander, kill_guard

from wm_ros.msg import PlannerStatus, SafetyStatus

SEGMENT = "/dev/shm/fastrtps"


def test_arm_is_at_rest_when_the_guard_is_killed(new_system: Callable[[], ArmSystem]) -> None:
    stop = kill_guard(new_system().bring_up("sim_arm", "safety_guard"), signal.SIGKILL)
    assert stop.kept, stop


def test_arm_is_at_rest_when_the_guard_is_stopped_and_it_latches_when_it_wakes(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system().bring_up("sim_arm", "safety_guard")
    stop = kill_guard(system, signal.SIGSTOP)
    assert stop.kept, stop
    before = system.positions()
    system.processes["safety_guard"].send(signal.SIGCONT)
    status = system.await_status(lambda status: status.state == SafetyStatus.STOPPED, "the guard latches")
    assert status.code in ("TICK_STALLED", "JOINT_STATE_STALE")
    system.await_rest()
    assert system.positions() == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_arm_is_at_rest_when_the_commander_ends(new_system: Callable[[], ArmSystem], signum: signal.Signals) -> None:
    system = new_system().bring_up()
    stop = kill_commander(system, signum)
    assert stop.kept, stop
    assert system.statuses[-1].state == SafetyStatus.ARMED


def test_guard_and_commander_say_why_when_the_arm_dies(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system().bring_up()
    progress = system.observer.hear(PlannerStatus, f"{REACH}/status")
    system.arm()
    system.trace()
    system.await_motion()
    system.processes["sim_arm"].send(signal.SIGKILL)
    status = system.await_status(lambda status: status.state == SafetyStatus.STOPPED, "the guard latches")
    assert status.code == "JOINT_STATE_STALE"
    assert "joint states ceased" in status.text
    assert "JOINT_STATE_LATE" in {status.code for status in system.statuses}, "it brakes before it latches"
    system.observer.until(lambda: progress[-1].state == PlannerStatus.FAILED, "reach_pose gives up")
    assert "safety guard" in progress[-1].text or "joint state" in progress[-1].text
    answer = system.observer.trigger(f"{GUARD}/arm")
    assert not answer.success
    assert "joint state is too old" in answer.message


def test_nobody_else_can_hold_up_the_guard(new_system: Callable[[], ArmSystem]) -> None:
    """Fast DDS's shared memory lets a process that is killed hold up all others; guard and commander must not be attached to it."""
    system = new_system().bring_up()
    for name in ("safety_guard", "reach_pose"):
        assert SEGMENT not in system.processes[name].mapped_files()
    assert SEGMENT in system.processes["sim_arm"].mapped_files(), "the arm carries images; without it this test could not fail"
