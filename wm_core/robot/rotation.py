"""Rotations as rotation vectors (rad) and matrices: exponential, logarithm, composition. Poses are 4x4 matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def skew(v: Array) -> Array:
    """The matrix S with S @ u = v x u; v (3,) -> (3, 3)."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def matrix(vector: Array) -> Array:
    """Rodrigues: exp of a rotation vector (3,) rad -> rotation matrix (3, 3)."""
    angle = float(np.linalg.norm(vector))
    s = skew(vector)
    if angle < 1e-8:
        return np.eye(3) + s + 0.5 * s @ s
    half = np.sin(0.5 * angle) / angle
    return np.eye(3) + np.sin(angle) / angle * s + 2.0 * half * half * s @ s


def vector(rotation: Array) -> Array:
    """Log of a rotation matrix (3, 3) -> rotation vector (3,) rad, angle in [0, pi]."""
    whole = quaternion(rotation)
    w, xyz = whole[0], whole[1:]
    sine = float(np.linalg.norm(xyz))
    if sine < 1e-12:
        return 2.0 * xyz
    return (2.0 * np.arctan2(sine, w) / sine) * xyz


def quaternion(rotation: Array) -> Array:
    """Rotation matrix (3, 3) -> unit quaternion (4,) as (w, x, y, z) with w >= 0."""
    m = rotation
    squares = 1.0 + np.array(
        [
            m[0, 0] + m[1, 1] + m[2, 2],
            m[0, 0] - m[1, 1] - m[2, 2],
            m[1, 1] - m[0, 0] - m[2, 2],
            m[2, 2] - m[0, 0] - m[1, 1],
        ]
    )
    k = int(np.argmax(squares))
    if k == 0:
        q = np.array([squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    elif k == 1:
        q = np.array([m[2, 1] - m[1, 2], squares[1], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]])
    elif k == 2:
        q = np.array([m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], squares[2], m[1, 2] + m[2, 1]])
    else:
        q = np.array([m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[3]])
    q /= np.linalg.norm(q)
    return -q if q[0] < 0.0 else q


def from_quaternion(q: Array) -> Array:
    """Unit quaternion (4,) as (w, x, y, z) -> rotation matrix (3, 3)."""
    w, xyz = q[0], q[1:]
    s = skew(xyz)
    return np.eye(3) + 2.0 * (w * s + s @ s)


def compose(first: Array, second: Array) -> Array:
    """The rotation vector of "first, then second in the fixed frame": log(exp(second) exp(first)); (3,), (3,) -> (3,)."""
    return vector(matrix(second) @ matrix(first))


def pose(position: Array, rotation: Array) -> Array:
    """A 4x4 pose from a position (3,) in metres and a rotation matrix (3, 3)."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = position
    return result


def pose_error(target: Array, current: Array) -> Array:
    """What moves `current` to `target` in the fixed frame: (6,), metres then rotation vector in rad; 4x4 poses in."""
    return np.concatenate([target[:3, 3] - current[:3, 3], vector(target[:3, :3] @ current[:3, :3].T)])
