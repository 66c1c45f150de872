"""Bounds on the next joint velocities that keep position, velocity and acceleration limits; and gentler ones to aim for.

    position      -v(d_lower) <= dq <= v(d_upper), the discrete braking bound to the margin before each limit
    outside it    only inward, and slowly
    velocity      |dq| <= share of the URDF's velocity
    acceleration  |dq - last| <= a T

The first three always leave room for the fourth while they hold; where they do not (started outside, tightened while moving), the arm
gets there as fast as the acceleration allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from wm_core.robot.braking import braking_speed, gentle_speed

Floats = list[float]
EDGE = 1e-4  # rad past the margin that still count as on it


class JointBox(NamedTuple):
    """`low` and `high` (6): the range of the next velocities, rad/s."""

    low: Floats
    high: Floats

    def clip(self, velocity: Floats) -> Floats:
        return [min(max(speed, low), high) for speed, low, high in zip(velocity, self.low, self.high, strict=True)]

    def holds(self, velocity: Floats, tolerance: float = 0.0) -> bool:
        rows = zip(velocity, self.low, self.high, strict=True)
        return all(low - tolerance <= speed <= high + tolerance for speed, low, high in rows)


@dataclass(frozen=True)
class JointRange:
    """Joint limits as the guard keeps them, margin and share already applied; lists (6), rad, rad/s, rad/s^2, rad/s^3."""

    lower: Floats
    upper: Floats
    velocity: Floats
    acceleration: Floats
    jerk: Floats
    recovery_speed: float
    period: float
    far: Floats = field(init=False)  # rad from which on a limit does not matter, even at full speed

    def __post_init__(self) -> None:
        far = [
            math.inf if rate <= 0.0 or jerk <= 0.0 else speed * speed / rate + 4.0 * speed * (rate / jerk + self.period)
            for speed, rate, jerk in zip(self.velocity, self.acceleration, self.jerk, strict=True)
        ]
        object.__setattr__(self, "far", far)

    def reachable(self, q: Floats, velocity: Floats) -> JointBox:
        """The velocities that may be published next, at positions `q` and the last published `velocity`."""
        low, high = [], []
        for index, speed in enumerate(velocity):
            bottom, top = self._bounds(index, q[index], jerk=False)
            step = self.acceleration[index] * self.period
            low.append(min(max(bottom, speed - step), speed + step))
            high.append(min(max(top, speed - step), speed + step))
        return JointBox(low, high)

    def advisable(self, q: Floats) -> JointBox:
        """The velocities to aim for at `q`: from them a stop fits within acceleration and jerk; zero is always among them."""
        bounds = [self._bounds(index, position, jerk=True) for index, position in enumerate(q)]
        return JointBox([bottom for bottom, _ in bounds], [top for _, top in bounds])

    def _bounds(self, index: int, position: float, jerk: bool) -> tuple[float, float]:
        """The range of velocities that position and velocity limits leave, with or without room to build the braking up."""
        speed, far = self.velocity[index], self.far[index]
        below, above = position - self.lower[index], self.upper[index] - position
        if below >= far and above >= far:
            return -speed, speed
        bottom, top = -min(self._fastest(index, below, jerk), speed), min(self._fastest(index, above, jerk), speed)
        if below < -EDGE:
            top = min(top, self.recovery_speed)
        elif above < -EDGE:
            bottom = max(bottom, -self.recovery_speed)
        return bottom, top

    def _fastest(self, index: int, room: float, jerk: bool) -> float:
        """The speed that fits into `room` rad."""
        rate = self.acceleration[index]
        return gentle_speed(room, rate, self.jerk[index], self.period) if jerk else braking_speed(room, rate, self.period)
