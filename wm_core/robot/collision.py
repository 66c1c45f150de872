"""Clearances between the capsules of the arm, and between them and the table.

Two capsules are apart by the distance of their axes (segments) less both radii. Pairs on the same link or on neighbouring ones are not
looked at, nor are those that the configuration allows to touch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wm_core.robot.kinematics import Kinematics, Posture
from wm_core.robot.limits import Limits
from wm_core.robot.rotation import Array

TINY = 1e-12
IDENTITY = np.eye(4)[None]


@dataclass(frozen=True)
class Clearance:
    """Clearances (n,) in metres at joint positions `q` (6,) rad, and the smallest of them (inf when there are none)."""

    q: Array
    values: Array
    nearest: float


NOTHING_NEAR = Clearance(np.zeros(6), np.empty(0), math.inf)


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
        lengths = np.square(ends[:, :3, 1] - ends[:, :3, 0]).sum(axis=1)
        self._first_length, self._second_length = lengths[self._first], lengths[self._second]
        radii = np.array([capsules[name].radius for name in order])
        self._radii = radii[self._first] + radii[self._second]
        self._on_table = np.array([order.index(name) for name in on_table], dtype=int)
        self._table = radii[self._on_table] + (limits.table_height or 0.0)
        extents = {name: float(np.linalg.norm(ends[index, :3], axis=0).max()) for index, name in enumerate(order)}
        spans = [tuple(sorted(pair, key=joints.__getitem__)) for pair in pairs]
        self._reach = np.array(
            [_reach(kinematics, joints[near], joints[far], extents[far]) for near, far in spans]
            + [_reach(kinematics, -1, joints[name], extents[name]) for name in on_table]
        ).reshape(-1, 6)

    def clearances(self, posture: Posture) -> Array:
        """Clearances (len(names),) in metres at `posture`; negative where shapes overlap."""
        frames = np.concatenate((IDENTITY, posture.frames))[self._frame]
        ends = (frames @ self._ends)[:, :3]
        start = ends[:, :, 0]
        along = ends[:, :, 1] - start
        first, second = self._first, self._second
        offset = start[first] - start[second]
        apart = segment_distance(offset, along[first], along[second], self._first_length, self._second_length) - self._radii
        above = ends[self._on_table, 2].min(axis=1) - self._table
        return np.concatenate((apart, above))

    def look(self, before: Clearance | None, q: Array, posture: Posture, near: float) -> Clearance:
        """The clearances at `q` (6,), or those from `before` when nothing can have come nearer than `near` metres since then."""
        if not self.names:
            return NOTHING_NEAR
        if before is not None and (before.values - self._reach @ np.abs(q - before.q)).min() >= near:
            return before
        values = self.clearances(posture)
        return Clearance(q, values, float(values.min()))


def _reach(kinematics: Kinematics, near: int, far: int, extent: float) -> list[float]:
    """For each joint, metres per radian by which it can at most bring a capsule on link `far` nearer to one on link `near`.

    A joint moves what lies beyond it on a circle no wider than the links up to the capsule and its `extent` from its own joint.
    """
    lengths = [float(np.linalg.norm(joint.origin[:3, 3])) for joint in kinematics.chain.joints]
    return [sum(lengths[joint + 1 : far + 1]) + extent if near < joint <= far else 0.0 for joint in range(6)]


def segment_distance(offset: Array, u: Array, w: Array, uu: Array, ww: Array) -> Array:
    """Distances (n,) of the segments p + s u and r + t w, 0 <= s, t <= 1, with offset = p - r (n, 3), uu = u.u, ww = w.w (n,).

    The nearest point is sought on the first segment, then on the second, then once more on the first, which is exact; a segment may be
    a point.
    """
    uw = np.einsum("ij,ij->i", u, w)
    uo = np.einsum("ij,ij->i", u, offset)
    wo = np.einsum("ij,ij->i", w, offset)
    s = _unit((uw * wo - uo * ww) / np.maximum(uu * ww - uw * uw, TINY))
    t = _unit((uw * s + wo) / np.maximum(ww, TINY))
    s = _unit((uw * t - uo) / np.maximum(uu, TINY))
    gap = offset + s[:, None] * u - t[:, None] * w
    return np.sqrt(np.einsum("ij,ij->i", gap, gap))


def _unit(values: Array) -> Array:
    return np.minimum(np.maximum(values, 0.0), 1.0)
