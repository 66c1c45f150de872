"""The nearest place to the goal that was really seen, and the way back to it.

What is imagined is wrong by a little, and a search among hundreds of imagined ends finds the one that is most wrong in its favour. An arm
that has come near would leave again for it. So the way back to the nearest place is imagined beside every plan, with the same noise, and
a plan is followed only where it costs less than that, by a little. Both are judged as far as a plan leads, and with their way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from wm_core.configuration import setting
from wm_core.planning.bounds import StepLimits, ToolState
from wm_core.planning.witness import Witness
from wm_core.robot import rotation
from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class Apart:
    """How far two poses of the tool may be from each other and be one place."""

    metres: float = setting("Distance", unit="m", low=0.0, high=0.1)
    radians: float = setting("Angle", unit="rad", low=0.0, high=1.0)


@dataclass(frozen=True)
class RetreatConfig:
    """When the arm goes back to the nearest place that it has seen."""

    worth: float = setting(
        "How much less than the way back a plan must cost, as a latent distance, in squares of a latent's deviation", low=0.0, high=1e3
    )
    apart: Apart = setting("How near to each other two poses of the tool are the same place")
    corrects: bool = setting("What the way back is imagined wrong by, as the place was seen, is taken off all that is imagined")


FREE = RetreatConfig(worth=0.0, apart=Apart(0.0, 0.0), corrects=False)  # a plan only has to be better


@dataclass(frozen=True)
class Place:
    """Pose (4, 4) of the tool when a frame was taken, the latent distance of that frame to the goal, and the frame (P, D) if kept."""

    pose: Array
    distance: float
    seen: Tensor | None = None

    def shows(self, pose: Array, apart: Apart) -> bool:
        """Whether a tool at `pose` (4, 4) is here."""
        away = rotation.pose_error(self.pose, pose)
        return bool(np.linalg.norm(away[:3]) <= apart.metres and np.linalg.norm(away[3:]) <= apart.radians)

    def way_back(self, tool: ToolState, horizon: int, limits: StepLimits, seconds: float) -> Array:
        """Steps of `seconds` (H, 7) straight from the tool to this place, as long as they may be until it is there."""
        away = rotation.pose_error(self.pose, rotation.pose(tool.position, tool.rotation))
        actions = np.tile([*np.zeros(6), tool.gripper], (horizon, 1))
        for part, speed in ((slice(0, 3), limits.linear_speed), (slice(3, 6), limits.angular_speed)):
            steps = np.linalg.norm(away[part]) / max(speed * seconds, 1e-12)
            shares = np.clip(steps - np.arange(horizon), 0.0, 1.0) / max(steps, 1e-12)
            actions[:, part] = shares[:, None] * away[part]
        return actions

    def witness(self, way: Array, tool: ToolState, apart: Apart) -> Witness | None:
        """A way (H, 7) from the tool to this place as one whose end is known; None where it does not arrive, or nothing was kept."""
        position, turned = tool.position, tool.rotation
        for step, action in enumerate(way):
            position, turned = position + action[:3], rotation.matrix(action[3:6]) @ turned
            if self.seen is not None and self.shows(rotation.pose(position, turned), apart):
                return Witness(way, step, self.seen)
        return None


def nearest(place: Place | None, pose: Array, distance: float, apart: Apart, seen: Tensor | None = None) -> Place:
    """The nearest of the place known so far and one more frame (P, D), taken with the tool at `pose` (4, 4).

    A place that is seen again is what it looks like now, as the scene may have changed; it stays where it is, or an arm that slowly leaves
    it would take it along.
    """
    if place is None or distance <= place.distance:
        return Place(pose, distance, seen)
    return Place(place.pose, distance, seen) if place.shows(pose, apart) else place
