"""What the safety guard would make of a planned step, by the guard itself and an arm that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.robot import guard as guards
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard import Guard, Wiring
from wm_core.robot.motion import SMOOTHING
from wm_core.robot.rotation import Array

ALONE = Wiring(listeners=1, other_publishers=0)
START = 1.0  # s, on both clocks


@dataclass(frozen=True)
class Guarded:
    """The way of the tool that was left along what was asked for, as a share of it, and the limits that cut.

    The share is None where no way was asked for, and more than 1 where the arm was faster than that before.
    """

    left: float | None
    limits: tuple[str, ...]


def guarded_step(guard: Guard, joints: Array, velocity: Array, action: Array, seconds: float) -> Guarded | None:
    """Ask the guard, whose arm is at `joints` (6,) rad and moves with `velocity` (6,) rad/s, for `action` (7,) m, rad, within `seconds`.

    None where it would not arm an arm in that place: outside of its limits it says nothing of motion.
    """
    now, names = Now(START, START), guard.limits.names
    state, reply = guards.arm(guard, guards.initial_state(guard), Measurement(names, joints, np.zeros(6), START, START), now, ALONE)
    if not reply.accepted:
        return None
    state, limits, period = state._replace(velocity=velocity), set[str](), guard.config.period
    begin = guard.kinematics.tool_pose(joints + velocity * period)[:3, 3]  # when the command comes
    for tick in range(1, round(seconds / period) + 1):
        time = START + tick * period
        measured = Measurement(names, state.q + state.velocity * period, state.velocity, time, time)
        command = _command(action, seconds, time) if tick == 1 else None
        state, result = guards.step(guard, state, command, measured, Now(time, time))
        limits |= set(result.active) - set(SMOOTHING)
    end = guard.kinematics.tool_pose(state.q + state.velocity * period)[:3, 3]
    asked = float(np.linalg.norm(action[:3]))
    left = float((end - begin) @ action[:3] / asked**2) if asked > 0.0 else None
    return Guarded(left, tuple(sorted(limits)))


def _command(action: Array, seconds: float, time: float) -> DeltaCommand:
    opening = float(np.clip(action[6], 0.0, 1.0))
    return DeltaCommand("base_link", action[:3], action[3:6], opening, seconds, time, time + 2.0 * seconds, time, "plan", 0)
