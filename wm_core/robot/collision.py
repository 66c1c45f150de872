"""Clearances between the capsules of the arm, and between them and the table.

Two capsules are apart by the distance of their axes (segments) less both radii. Pairs on the same link or on neighbouring ones are not
looked at, nor are those that the configuration allows to touch.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from wm_core.robot.kinematics import Kinematics, Posture
from wm_core.robot.limits import Limits
from wm_core.robot.rotation import Array


class CollisionModel:
    """The capsules of one arm; immutable after construction. `names` has one entry per clearance."""

    def __init__(self, limits: Limits, kinematics: Kinematics) -> None:
        capsules = limits.capsules
        homes = {name: kinematics.link(capsule.link) for name, capsule in capsules.items()}
        joints = {name: home[0] for name, home in homes.items()}
        order = list(capsules)
        ends = np.zeros((len(order), 4, 2))
        for index, name in enumerate(order):
            local = np.array([[*capsules[name].start, 1.0], [*capsules[name].end, 1.0]]).T
            ends[index] = homes[name][1] @ local
        allowed = {frozenset(pair) for pair in limits.allowed_contacts}
        pairs = [
            (one, other)
            for one, other in combinations(order, 2)
            if abs(joints[one] - joints[other]) > 1 and frozenset((one, other)) not in allowed
        ]
        on_table = [name for name in order if capsules[name].table and limits.table_height is not None]
        self.names = tuple(f"collision:{one}-{other}" for one, other in pairs) + tuple(f"table:{name}" for name in on_table)
        self._ends = ends
        self._frame = np.array([joints[name] + 1 for name in order], dtype=int)
        self._first = np.array([order.index(one) for one, _ in pairs], dtype=int)
        self._second = np.array([order.index(other) for _, other in pairs], dtype=int)
        radii = np.array([capsules[name].radius for name in order])
        self._radii = radii[self._first] + radii[self._second]
        self._on_table = np.array([order.index(name) for name in on_table], dtype=int)
        self._table = radii[self._on_table] + (limits.table_height or 0.0)

    def clearances(self, posture: Posture) -> Array:
        """Clearances (len(names),) in metres at `posture`; negative where shapes overlap."""
        frames = np.concatenate((np.eye(4)[None], posture.frames))[self._frame]
        ends = (frames @ self._ends)[:, :3]
        start, along = ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]
        first, second = self._first, self._second
        apart = segment_distance(start[first], along[first], start[second], along[second]) - self._radii
        above = ends[self._on_table, 2].min(axis=1) - self._table
        return np.concatenate((apart, above))


def segment_distance(p: Array, u: Array, r: Array, w: Array) -> Array:
    """Distances (n,) of the segments p + s u and r + t w, 0 <= s, t <= 1; all (n, 3). A segment may be a point."""
    offset = p - r
    uu, ww, uw = (u * u).sum(1), (w * w).sum(1), (u * w).sum(1)
    uo, wo = (u * offset).sum(1), (w * offset).sum(1)
    tiny = 1e-12
    s = np.clip((uw * wo - uo * ww) / np.maximum(uu * ww - uw * uw, tiny), 0.0, 1.0)
    t = np.clip((uw * s + wo) / np.maximum(ww, tiny), 0.0, 1.0)
    s = np.clip((uw * t - uo) / np.maximum(uu, tiny), 0.0, 1.0)
    gap = offset + s[:, None] * u - t[:, None] * w
    return np.sqrt((gap * gap).sum(1))
