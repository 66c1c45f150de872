"""Acceleration and jerk: the next joint velocity on the way from the last one to the target.

The change asked for is a straight line in joint space; all joints share one profile along it, so that the direction of the motion is
kept while it speeds up and slows down. The acceleration fades out in time to arrive without overshoot (`braking_speed`, one order up).
"""

from __future__ import annotations

from wm_core.robot.braking import braking_speed

Floats = list[float]


def shape(velocity: Floats, acceleration: Floats, target: Floats, limits: Floats, jerks: Floats, period: float) -> Floats:
    """Velocity (6) rad/s of the next tick, from `velocity` and `acceleration` (6) of the last, toward `target` (6).

    |a'| <= limits (rad/s^2) where |a| was, and |a' - a| <= jerks * period (rad/s^3).
    """
    change = [goal - now for goal, now in zip(target, velocity, strict=True)]
    largest = max(abs(part) for part in change)
    wanted = [0.0] * len(change)
    if largest > 0.0:
        direction = [part / largest for part in change]
        limit = min((top / abs(part) for top, part in zip(limits, direction, strict=True) if part), default=0.0)
        jerk = min((top / abs(part) for top, part in zip(jerks, direction, strict=True) if part), default=0.0)
        size = min(limit, braking_speed(largest, jerk, period))
        wanted = [size * part for part in direction]
    share = 1.0
    for goal, now, jerk in zip(wanted, acceleration, jerks, strict=True):
        if abs(goal - now) * share > jerk * period:
            share = jerk * period / abs(goal - now)
    return [speed + (now + share * (goal - now)) * period for speed, goal, now in zip(velocity, wanted, acceleration, strict=True)]


def brake(velocity: Floats, limits: Floats, period: float) -> Floats:
    """Velocity (6) of the next tick when all joints come to rest together, the slowest to stop at its acceleration limit."""
    share = 1.0
    for speed, limit in zip(velocity, limits, strict=True):
        if speed:
            share = min(share, limit * period / abs(speed))
    return [speed * (1.0 - share) for speed in velocity]
