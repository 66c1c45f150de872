"""How fast one may go and still stop in time, when speed changes by at most `rate * period` from tick to tick.

Stopping from v in n ticks of length T with deceleration a covers v T + (v - a T) T + ...; the largest v whose path fits into d is

    v(d) = d / ((n + 1) T) + n a T / 2,   n = floor((sqrt(1 + 8 d / (a T^2)) - 1) / 2)

It equals -a T / 2 + sqrt((a T / 2)^2 + 2 a d) where the stop takes a whole number of ticks and lies on that curve's chords between:
the smooth curve would pass the end by up to a T^2 / 8. The textbook sqrt(2 a d) lies above both, and breaks the acceleration limit.
"""

from __future__ import annotations

import math

LARGEST = 1e9  # ticks; beyond them the distance is as good as infinite


def braking_speed(distance: float, rate: float, period: float) -> float:
    """The largest speed from which a stop fits into `distance`, decelerating by `rate`; m and m/s, or rad, or rad/s and rad/s^2."""
    if distance <= 0.0 or rate <= 0.0:
        return 0.0
    ticks = distance / (rate * period * period)
    if ticks > LARGEST:
        return math.inf
    whole = math.floor(0.5 * (math.sqrt(1.0 + 8.0 * ticks) - 1.0))
    return distance / ((whole + 1) * period) + 0.5 * whole * rate * period


def smooth_braking_speed(distance: float, rate: float, period: float) -> float:
    """-a T / 2 + sqrt((a T / 2)^2 + 2 a d): the curve above `braking_speed`, used to check it."""
    if distance <= 0.0:
        return 0.0
    half = 0.5 * rate * period
    return math.sqrt(half * half + 2.0 * rate * distance) - half


def gentle_speed(distance: float, rate: float, jerk: float, period: float) -> float:
    """A speed that leaves room to build the deceleration up at `jerk`: v = a (sqrt(t^2 + 2 d / a) - t), t the time of building up.

    Following it the deceleration grows gradually, stays below a, and fades out at the end.
    """
    if distance <= 0.0 or rate <= 0.0 or jerk <= 0.0:
        return 0.0
    if distance == math.inf:
        return math.inf
    share = 0.8 * rate
    delay = rate / jerk + 2.0 * period
    return share * (math.sqrt(delay * delay + 2.0 * distance / share) - delay)
