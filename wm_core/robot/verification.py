"""The last word of a tick: the velocities about to be published against every limit, computed anew from the limits themselves."""

from __future__ import annotations

import math

from wm_core.robot.barrier import Rows
from wm_core.robot.braking import smooth_braking_speed
from wm_core.robot.guard_model import Guard
from wm_core.robot.rotation import Array

TOLERANCE = 1e-6


def tool_speeds(twist: Array) -> tuple[float, float]:
    """Linear and angular speed, m/s and rad/s, of a twist (6,)."""
    a, b, c, d, e, f = twist.tolist()
    return math.sqrt(a * a + b * b + c * c), math.sqrt(d * d + e * e + f * f)


def violations(guard: Guard, q: list[float], last: list[float], velocity: Array | None, jacobian: Array, rows: Rows) -> list[str]:
    """Names of the limits that publishing `velocity` (6,) rad/s at `q` (6) after `last` (6) would break; empty when it may go out.

    A joint found outside its range, or above a limit that was just tightened, may come back no faster than its acceleration allows.
    """
    if velocity is None or velocity.shape != (6,):
        return ["not_finite"]
    speeds = velocity.tolist()
    if not all(map(math.isfinite, speeds)):
        return ["not_finite"]
    found = _joint_violations(guard, q, last, speeds)
    found += rows.cut(velocity, tolerance=TOLERANCE)
    limit = guard.config.tool_speed
    linear, angular = tool_speeds(jacobian @ velocity)
    if not (linear <= limit.linear + TOLERANCE and angular <= limit.angular + TOLERANCE):
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
        if abs(speed) > max(_braking_limit(guard, index, q[index], speed), abs(last[index]) - step) + TOLERANCE:
            found.append(f"joint_position:{names[index]}")
    return found


def _braking_limit(guard: Guard, index: int, position: float, speed: float) -> float:
    """The largest speed in the direction of `speed` from which the joint stops before its margin."""
    joints = guard.joints
    room = joints.upper[index] - position if speed > 0.0 else position - joints.lower[index]
    if room > joints.far[index]:
        return math.inf
    return smooth_braking_speed(room, joints.acceleration[index], joints.period)
