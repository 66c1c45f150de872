"""What a model is told of the arm's own state, in one row that is continuous wherever the tool points roughly down."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from wm_core.robot import rotation
from wm_core.robot.rotation import Array

DOWN = np.diag([1.0, -1.0, -1.0])
"""The rotation of a tool that points straight down with its x axis forward, in base_link."""

TOOL_NAMES = ("tool.x", "tool.y", "tool.z", "tool.turn_x", "tool.turn_y", "tool.turn_z", "gripper")
ACTION_NAMES = ("dx", "dy", "dz", "turn_x", "turn_y", "turn_z", "gripper")


def state_names(joints: tuple[str, ...]) -> tuple[str, ...]:
    """What the numbers of a `state_row` are called."""
    return (*TOOL_NAMES, *joints)


def state_row(pose: Array, gripper: float, joints: ArrayLike) -> Array:
    """Tool position (m), rotation vector from DOWN in base_link (rad), opening 0..1, joint positions (rad): (7 + joints,).

    The rotation vector of a tool pointing down is half a turn, where its sign is arbitrary; measured from DOWN it is small and continuous.
    """
    return np.concatenate([pose[:3, 3], rotation.vector(pose[:3, :3] @ DOWN.T), [gripper], np.asarray(joints, dtype=np.float64)])


def pose_of_row(row: ArrayLike) -> Array:
    """The tool's 4x4 pose in base_link of a row made by `state_row`."""
    row = np.asarray(row, dtype=np.float64)
    return rotation.pose(row[:3], rotation.matrix(row[3:6]) @ DOWN)


def action_row(before: Array, after: Array, gripper: float) -> Array:
    """What moved the tool from one 4x4 pose to the next, in base_link: translation (m), rotation vector (rad), opening: (7,)."""
    return np.concatenate([rotation.pose_error(after, before), [gripper]])
