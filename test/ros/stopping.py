"""Kill the guard or its commander while the arm moves, and measure until the arm is at rest."""

from __future__ import annotations

import functools
import signal
from dataclasses import dataclass

import numpy as np
from arm_system import AT_REST, ArmSystem, speed, stamp, wall
from ros_process import CONFIG

from wm_core import configuration
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.reach import ReachConfig
from wm_core.robot.robot_config import RobotConfig
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_ros.conversions import array
from wm_ros.msg import DeltaEECommand
from wm_ros.reach_pose import VALIDITY

GUARD_BOUND = 0.2  # s
FAST = (0.0, 0.02, 0.0)  # m per 0.1 s


@dataclass(frozen=True)
class Stop:
    """Seconds from the signal until the guard's output was zero and until the arm was at rest, and what each may take."""

    output: float
    output_bound: float
    rest: float
    rest_bound: float

    @property
    def kept(self) -> bool:
        return self.output <= self.output_bound and self.rest <= self.rest_bound


def kill_guard(system: ArmSystem, signum: signal.Signals, delay: float = 0.0) -> Stop:
    """Send `signum` to the guard of a fresh system `delay` s after the arm began to move, commands still coming in."""
    sent = system.observer.hear(DeltaEECommand, "arm/delta_command")
    system.arm()
    system.feed(FAST)
    system.await_motion(faster_than=0.2)
    system.pause(delay)
    since = wall()
    system.processes["safety_guard"].send(signum)
    rest = system.time_to_rest(since)
    return Stop(_last_moving(sent) - since, GUARD_BOUND, rest, GUARD_BOUND)


def kill_commander(system: ArmSystem, signum: signal.Signals, delay: float = 0.0) -> Stop:
    """Send `signum` to reach_pose `delay` s after the arm began to trace a square: at another moment between two of its commands.

    The guard's output is zero within timeout + v/a + 2 ticks; the arm lags behind its commands by its own settling time.
    """
    sent = system.observer.hear(DeltaEECommand, "arm/delta_command")
    system.arm()
    system.trace()
    system.await_motion(faster_than=0.2)
    system.pause(delay)
    since = wall()
    system.processes["reach_pose"].send(signum)
    rest = system.time_to_rest(since, watched=1.2)
    fastest = max((state for state in system.joint_states if since - 0.1 < stamp(state) < since + 1.0), key=speed)
    guard = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")
    bound = _timeout(guard) + _braking_time(np.array(fastest.velocity[:6])) + 2.0 * guard.period
    return Stop(_last_moving(sent) + guard.period - since, bound, rest, bound + settling_time())


def _last_moving(sent: list[DeltaEECommand]) -> float:
    """Stamp of the last command that asked for motion, s."""
    return max(stamp(message) for message in sent if array(message.translation).any() or array(message.rotation).any())


def _timeout(guard: GuardConfig) -> float:
    """How long the guard obeys the commander's last command, s."""
    step, age = 1.0 / configuration.read(ReachConfig, CONFIG / "reach_pose.yaml").rate, guard.command
    return min(VALIDITY * step, min(max(age.steps * step, age.shortest), age.longest))


def _braking_time(velocity: np.ndarray) -> float:
    """v/a of the joint that takes longest to stop, s; velocity (6,) rad/s."""
    acceleration = configuration.read(RobotConfig, CONFIG / "ur5e.yaml").limits.acceleration
    return float((np.abs(velocity) / np.array([acceleration[name] for name in arm.JOINTS])).max())


@functools.cache
def settling_time() -> float:
    """How long the embedded arm itself takes to come to rest from `FAST` after its commands went to zero at once, s."""
    embedded, step = EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"), seed=0), 0.004
    for _ in range(125):
        embedded.command_delta(np.array(FAST) * step / 0.1, np.zeros(3), None, step)
        embedded.advance(step)
    taken = 0.0
    while np.abs(embedded.joint_velocities).max() >= AT_REST:
        embedded.command_delta(np.zeros(3), np.zeros(3), None, step)
        embedded.advance(step)
        taken += step
    return taken
