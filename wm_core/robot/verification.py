"""The last word of a tick: the velocities about to be published against every limit, computed anew from the limits themselves."""

from __future__ import annotations

import numpy as np

from wm_core.robot.braking import smooth_braking_speed
from wm_core.robot.guard_model import Guard
from wm_core.robot.rotation import Array

TOLERANCE = 1e-6


def violations(guard: Guard, q: Array, last: Array, velocity: Array, jacobian: Array, rows: Array, floor: Array) -> list[str]:
    """Names of the limits that publishing `velocity` (6,) rad/s at `q` (6,) after `last` (6,) would break; empty when it may go out.

    A joint found outside its range, or above a limit that was just tightened, may come back no faster than its acceleration allows.
    """
    if np.shape(velocity) != (6,) or not np.isfinite(velocity).all():
        return ["not_finite"]
    found = _joint_violations(guard, q.tolist(), last.tolist(), velocity.tolist())
    if (rows @ velocity < floor - TOLERANCE).any():
        found.append("barrier")
    twist = jacobian @ velocity
    speed = guard.config.tool_speed
    linear, angular = float(np.sqrt(twist[:3] @ twist[:3])), float(np.sqrt(twist[3:] @ twist[3:]))
    if not (linear <= speed.linear + TOLERANCE and angular <= speed.angular + TOLERANCE):
        found.append("tool_speed")
    return found


def _joint_violations(guard: Guard, q: list[float], last: list[float], velocity: list[float]) -> list[str]:
    joints, names, period = guard.joints, guard.limits.names, guard.config.period
    found = []
    for index, speed in enumerate(velocity):
        step = joints.acceleration[index] * period
        if abs(speed - last[index]) > step * (1.0 + TOLERANCE) + 1e-12:
            found.append(f"joint_acceleration:{names[index]}")
        if abs(speed) > max(joints.velocity[index], abs(last[index]) - step) + TOLERANCE:
            found.append(f"joint_velocity:{names[index]}")
        room = joints.upper[index] - q[index] if speed > 0.0 else q[index] - joints.lower[index]
        top = smooth_braking_speed(room, joints.acceleration[index], period)
        if abs(speed) > max(top, abs(last[index]) - step) + TOLERANCE:
            found.append(f"joint_position:{names[index]}")
    return found
