"""From a dataset's own columns to the 7 numbers that a model is told: translation (m), rotation vector (rad), gripper 0 closed .. 1 open.

The action of a sampled row is everything that happened until the next sampled row, so deltas are composed when rows are skipped.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wm_core.data.dataset_config import ActionMapping, Part
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.metadata import Metadata
from wm_core.robot import rotation
from wm_core.robot.rotation import Array

Columns = dict[str, NDArray[np.floating]]
Rows = NDArray[np.int64]


def check(mapping: ActionMapping, metadata: Metadata) -> None:
    """Refuse a dataset whose columns are not as wide as the mapping says."""
    for part in mapping.parts():
        width = metadata.width(part.key)
        if width != part.width:
            mend = "correct the action mapping in the dataset's YAML"
            raise DatasetError(
                f"{part.key} of {metadata.root} is not what its mapping says", got=f"{width} numbers", allowed=str(part.width), mend=mend
            )


def between(mapping: ActionMapping, columns: Columns, rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The actions (T, 7) from each of `rows` (T + 1,) to the next, and whether each is known (T,).

    `columns` hold a whole episode of L rows; a row index of L or more lies past its end, and what leads there is not known.
    """
    length = len(columns[mapping.translation.key])
    steps = len(rows) - 1
    actions = np.zeros((steps, 7), dtype=np.float32)
    known = np.zeros(steps, dtype=np.bool_)
    # A delta of the last row leads past the end and is known; a pose there is not.
    last = length if mapping.kind == "delta" else length - 1
    for step, (here, there) in enumerate(pairwise(rows)):
        if there <= last:
            shift, turn = _motion(mapping, columns, int(here), int(there))
            actions[step] = np.concatenate([shift, turn, [_gripper(mapping, columns, int(there) - 1)]])
            known[step] = True
    if not np.isfinite(actions).all():
        raise EpisodeError("an action is not a number", got=f"row {rows[int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])]}")
    return actions, known


def _motion(mapping: ActionMapping, columns: Columns, here: int, there: int) -> tuple[Array, Array]:
    if mapping.kind == "pose":
        error = rotation.pose_error(_pose(mapping, columns, there), _pose(mapping, columns, here))
        return error[:3], error[3:]
    shift: Array = np.zeros(3)
    turn: Array = np.zeros(3)
    for row in range(here, there):
        shift = shift + _take(mapping.translation, columns, row)
        once = rotation.vector(_matrix(mapping, columns, row))
        turn = once if row == here else rotation.compose(turn, once)
    return shift, turn


def _pose(mapping: ActionMapping, columns: Columns, row: int) -> Array:
    return rotation.pose(_take(mapping.translation, columns, row), _matrix(mapping, columns, row))


def _matrix(mapping: ActionMapping, columns: Columns, row: int) -> Array:
    """The rotation of a row as a matrix (3, 3)."""
    numbers = _take(mapping.rotation, columns, row)
    if mapping.rotation_form == "rotation_vector":
        return rotation.matrix(numbers)
    if mapping.rotation_form == "quaternion_xyzw":
        length = float(np.linalg.norm(numbers))
        if not 0.5 < length < 2.0:
            raise EpisodeError("a rotation is not a unit quaternion", got=numbers.tolist())
        return rotation.from_quaternion(np.roll(numbers / length, 1))
    about_x, about_y, about_z = (rotation.matrix(angle * axis) for angle, axis in zip(numbers, np.eye(3), strict=True))
    return about_z @ about_y @ about_x


def _gripper(mapping: ActionMapping, columns: Columns, row: int) -> float:
    number = float(_take(mapping.gripper, columns, row)[0])
    opening = (number - mapping.gripper_closed) / (mapping.gripper_open - mapping.gripper_closed)
    return float(np.clip(opening, 0.0, 1.0))


def _take(part: Part, columns: Columns, row: int) -> Array:
    numbers = np.asarray(columns[part.key][row], dtype=np.float64)[list(part.take)] * part.scale
    if not np.isfinite(numbers).all():
        raise EpisodeError("an action is not a number", got=f"row {row} of {part.key}: {numbers.tolist()}")
    return numbers
