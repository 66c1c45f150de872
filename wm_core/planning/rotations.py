"""Many rotations at once, as unit quaternions (..., 4) with the real part first; rotation vectors (..., 3) in rad."""

from __future__ import annotations

import numpy as np

from wm_core.robot.rotation import Array


def of_vectors(vectors: Array) -> Array:
    """exp: rotation vectors (..., 3) -> quaternions (..., 4)."""
    half = 0.5 * np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * vectors * np.sinc(half / np.pi)], axis=-1)


def vectors(quaternions: Array) -> Array:
    """log: quaternions (..., 4) -> rotation vectors (..., 3), angle in [0, pi]."""
    quaternions = np.where(quaternions[..., :1] < 0.0, -quaternions, quaternions)
    sine = np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def product(second: Array, first: Array) -> Array:
    """Turning by `first`, then by `second` in the fixed frame."""
    real = second[..., :1] * first[..., :1] - np.sum(second[..., 1:] * first[..., 1:], axis=-1, keepdims=True)
    rest = second[..., :1] * first[..., 1:] + first[..., :1] * second[..., 1:] + np.cross(second[..., 1:], first[..., 1:])
    return np.concatenate([real, rest], axis=-1)


def inverse(quaternions: Array) -> Array:
    """The rotations back."""
    return quaternions * np.array([1.0, -1.0, -1.0, -1.0])
