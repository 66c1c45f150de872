"""Workspace box and keep-out spheres as control barriers for the tool point.

With h the distance to a wall or sphere, inflation taken off, n the direction away from it and J_v the linear rows of the Jacobian:

    n^T J_v dq >= -gain * max(h, 0)

The approach slows exponentially, moving along or away is free, and from outside there is only inward.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wm_core.robot.guard_config import GuardConfig, Workspace
from wm_core.robot.rotation import Array

SIDES = ("min_x", "max_x", "min_y", "max_y", "min_z", "max_z")


AIM = 0.7  # share of the gain that is aimed for, so that acceleration and jerk can follow


class Rows(NamedTuple):
    """Constraints matrix (m, 6) @ dq >= floor (m,), m/s, with their names."""

    names: tuple[str, ...]
    matrix: Array
    floor: Array

    def cut(self, velocity: Array, share: float = 1.0, tolerance: float = 0.0) -> tuple[str, ...]:
        """Names of the rows that `velocity` (6,) does not keep, with floors lowered to a `share`."""
        if not self.names:
            return ()
        short = self.matrix @ velocity < share * self.floor - tolerance
        return tuple(name for name, broken in zip(self.names, short.tolist(), strict=True) if broken)


NO_ROWS = Rows((), np.empty((0, 6)), np.empty(0))


class Barriers:
    """The walls and spheres of one configuration; immutable after construction."""

    def __init__(self, config: GuardConfig) -> None:
        walls = [(side, value) for side in SIDES if (value := _wall(config.workspace, side)) is not None]
        self.names = tuple(f"workspace:{side}" for side, _ in walls) + tuple(f"keep_out:{index}" for index in range(len(config.keep_out)))
        self.gain = config.barrier.gain
        self._normals = np.array([_normal(side) for side, _ in walls]).reshape(-1, 3)
        self._offsets = np.array([value * _normal(side).sum() for side, value in walls])
        self._centres = np.array([sphere.centre for sphere in config.keep_out]).reshape(-1, 3)
        self._radii = np.array([sphere.radius for sphere in config.keep_out])
        self._inflation = config.barrier.inflation
        self._near = config.tool_speed.linear / (AIM * config.barrier.gain)

    def distances(self, point: Array) -> tuple[Array, Array]:
        """Distances (m,) in metres of `point` (3,) to every barrier, inflation taken off, and the directions (m, 3) away from them."""
        distance = self._normals @ point - self._offsets
        normals = self._normals
        if len(self._radii):
            away = point - self._centres
            length = np.sqrt((away * away).sum(axis=1))
            away = np.where(length[:, None] > 0.0, away / np.maximum(length, 1e-12)[:, None], (0.0, 0.0, 1.0))
            distance = np.concatenate((distance, length - self._radii))
            normals = np.concatenate((normals, away))
        return distance - self._inflation, normals

    def rows(self, point: Array, linear: Array) -> Rows:
        """The rows that can matter at tool `point` (3,) with the linear Jacobian `linear` (3, 6).

        A barrier so far away that the tool's own speed limit keeps it is left out.
        """
        if not self.names:
            return NO_ROWS
        distance, normals = self.distances(point)
        if distance.min() > self._near:
            return NO_ROWS
        near = np.flatnonzero(distance <= self._near)
        floor = -self.gain * np.maximum(distance[near], 0.0)
        return Rows(tuple(self.names[index] for index in near), normals[near] @ linear, floor)


def _wall(workspace: Workspace, side: str) -> float | None:
    value: float | None = getattr(workspace, side)
    return value


def _normal(side: str) -> Array:
    normal = np.zeros(3)
    normal["xyz".index(side[-1])] = 1.0 if side.startswith("min") else -1.0
    return normal
