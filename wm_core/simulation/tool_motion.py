"""The motion that delta commands ask of the tool: from the pose commanded now to the sum of all deltas, spread evenly over a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wm_core.robot import rotation
from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class ToolMotion:
    """A straight, even motion of the tool in base_link; poses are 4x4, times are seconds of simulated time."""

    start: Array
    goal: Array
    begin: float
    duration: float

    @classmethod
    def rest(cls, pose: Array, now: float) -> ToolMotion:
        return cls(pose, pose, now, 0.0)

    def pose(self, time: float) -> Array:
        """The commanded pose at `time`: p0 + s (p1 - p0) and exp(s log(R1 R0^T)) R0, with s going from 0 to 1 over the duration."""
        elapsed = time - self.begin
        if elapsed >= self.duration:
            return self.goal
        share = max(elapsed, 0.0) / self.duration
        difference = share * self._way
        return rotation.pose(self.start[:3, 3] + difference[:3], rotation.matrix(difference[3:]) @ self.start[:3, :3])

    @cached_property
    def _way(self) -> Array:
        return rotation.pose_error(self.goal, self.start)

    def extended(self, now: float, goal: Array, duration: float) -> ToolMotion:
        """The motion from the pose commanded `now` to a further `goal`: what was still to be done is done within `duration` too."""
        return ToolMotion(self.pose(now), goal, now, duration)


def moved(pose: Array, translation: Array, turn: Array, in_tool: bool) -> Array:
    """`pose` (4x4) moved by a translation (3,) m and a rotation vector (3,) rad, both in its own axes or in those of the base."""
    turned = rotation.matrix(turn)
    if in_tool:
        return rotation.pose(pose[:3, 3] + pose[:3, :3] @ translation, pose[:3, :3] @ turned)
    return rotation.pose(pose[:3, 3] + translation, turned @ pose[:3, :3])


def held_inside(goal: Array, before: Array, low: Array, high: Array) -> Array:
    """`goal` with its position clipped to the box; where `before` is outside already, it may come back but not go further out."""
    position = np.clip(goal[:3, 3], np.minimum(low, before[:3, 3]), np.maximum(high, before[:3, 3]))
    return rotation.pose(position, goal[:3, :3])
