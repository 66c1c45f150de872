"""Kill the guard or its commander while the arm moves, and measure until the arm is at rest."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import numpy as np
from arm_system import REACH, ArmSystem, wall
from ros_process import CONFIG

from wm_core import configuration
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.reach import ReachConfig
from wm_core.robot.robot_config import RobotConfig
from wm_core.simulation import arm
from wm_ros.reach_pose import VALIDITY

GUARD_BOUND = 0.2  # s
FAST = (0.0, 0.02, 0.0)  # m per 0.1 s


@dataclass(frozen=True)
class Stop:
    """How long the arm took, the bound that it must keep, and how fast it was (the fastest joint, rad/s)."""

    taken: float
    bound: float
    speed: float


def kill_guard(system: ArmSystem, signum: signal.Signals) -> Stop:
    """Send `signum` to the guard of a fresh system while it drives the arm, commands still coming in."""
    system.arm()
    system.feed(FAST)
    system.await_motion(faster_than=0.2)
    speed, since = system.speed(), wall()
    system.processes["safety_guard"].send(signum)
    return Stop(system.time_to_rest(since), GUARD_BOUND, speed)


def kill_commander(system: ArmSystem, signum: signal.Signals) -> Stop:
    """Send `signum` to reach_pose while it traces a square; the bound is its timeout + v/a + 2 ticks of the guard."""
    system.arm()
    system.observer.trigger(f"{REACH}/trace")
    system.await_motion(faster_than=0.2)
    speed, since = system.speed(), wall()
    braking = _braking_time(np.array(system.joint_states[-1].velocity[:6]))
    system.processes["reach_pose"].send(signum)
    return Stop(system.time_to_rest(since, watched=1.2), _timeout() + braking + 2.0 * _guard().period, speed)


def _guard() -> GuardConfig:
    return configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")


def _timeout() -> float:
    """How long the guard obeys the commander's last command, s."""
    step, age = 1.0 / configuration.read(ReachConfig, CONFIG / "reach_pose.yaml").rate, _guard().command
    return min(VALIDITY * step, min(max(age.steps * step, age.shortest), age.longest))


def _braking_time(velocity: np.ndarray) -> float:
    """v/a of the slowest joint to stop, s; velocity (6,) rad/s."""
    acceleration = configuration.read(RobotConfig, CONFIG / "ur5e.yaml").limits.acceleration
    return float((np.abs(velocity) / np.array([acceleration[name] for name in arm.JOINTS])).max())
