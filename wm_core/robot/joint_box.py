"""Bounds on the next joint velocities that keep position, velocity and acceleration limits; and gentler ones to aim for.

    position      -v(d_lower) <= dq <= v(d_upper), the discrete braking bound to the margin before each limit
    outside it    only inward, and slowly
    velocity      |dq| <= share of the URDF's velocity
    acceleration  |dq - last| <= a T

The first three always leave room for the fourth while they hold; where they do not (started outside, tightened while moving), the arm
gets there as fast as the acceleration allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.robot.braking import braking_speed, gentle_speed

Floats = list[float]
EDGE = 1e-4  # rad past the margin that still count as on it


@dataclass(frozen=True)
class JointBox:
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

    def reachable(self, q: Floats, velocity: Floats) -> JointBox:
        """The velocities that may be published next, at positions `q` and the last published `velocity`."""
        low, high = [], []
        for index, speed in enumerate(velocity):
            rate = self.acceleration[index]
            below = braking_speed(q[index] - self.lower[index], rate, self.period)
            above = braking_speed(self.upper[index] - q[index], rate, self.period)
            bottom, top = self._bounds(index, q[index], below, above)
            step = rate * self.period
            low.append(min(max(bottom, speed - step), speed + step))
            high.append(min(max(top, speed - step), speed + step))
        return JointBox(low, high)

    def advisable(self, q: Floats) -> JointBox:
        """The velocities to aim for at `q`: from them a stop fits within acceleration and jerk; zero is always among them."""
        low, high = [], []
        for index, position in enumerate(q):
            rate, jerk = self.acceleration[index], self.jerk[index]
            below = gentle_speed(position - self.lower[index], rate, jerk, self.period)
            above = gentle_speed(self.upper[index] - position, rate, jerk, self.period)
            bottom, top = self._bounds(index, position, below, above)
            low.append(bottom)
            high.append(top)
        return JointBox(low, high)

    def _bounds(self, index: int, position: float, below: float, above: float) -> tuple[float, float]:
        speed = self.velocity[index]
        bottom, top = -min(below, speed), min(above, speed)
        if position < self.lower[index] - EDGE:
            top = min(top, self.recovery_speed)
        elif position > self.upper[index] + EDGE:
            bottom = max(bottom, -self.recovery_speed)
        return bottom, top
