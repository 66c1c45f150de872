"""The quadratic program of the guard, solved by DAQP, whose answer is never believed.

    minimise    1/2 (x - target)^T H (x - target)
    subject to  low <= x <= high          (joint box, never relaxed)
                A x >= floor              (barriers; relaxed by slack only when asked to)

Solvers report success on NaN, and garbage on infeasible problems: what comes back is finite and satisfies every row to 1e-6, or it is
not used.
"""

from __future__ import annotations

from typing import NamedTuple

import daqp
import numpy as np

from wm_core.robot.rotation import Array

TOLERANCE = 1e-6
SLACK_WEIGHT = 1e5
INFEASIBLE = -1


class Answer(NamedTuple):
    """`velocity` (6,) or None; `relaxed` when rows were; `infeasible` when the solver says that no answer exists."""

    velocity: Array | None
    relaxed: bool = False
    infeasible: bool = False


def closest(hessian: Array, target: Array, low: Array, high: Array, rows: Array, floor: Array) -> Answer:
    """The point nearest to `target` (6,) in the metric `hessian` (6, 6), within `low`, `high` (6,) and `rows` (m, 6) x >= `floor` (m,)."""
    upper = np.concatenate((high, np.full(len(floor), np.inf)))
    lower = np.concatenate((low, floor))
    return _checked(_solve(hessian, -hessian @ target, rows, upper, lower), low, high, rows, floor)


def closest_relaxed(hessian: Array, target: Array, low: Array, high: Array, rows: Array, floor: Array) -> Answer:
    """As `closest`, with a slack s >= 0 on each row, A x + s >= floor, at a price that makes it as small as it can be."""
    count = len(floor)
    size = 6 + count
    wide = np.zeros((size, size))
    wide[:6, :6] = hessian
    wide[range(6, size), range(6, size)] = SLACK_WEIGHT
    linear = np.zeros(size)
    linear[:6] = -hessian @ target
    upper = np.concatenate((high, np.full(2 * count, np.inf)))
    lower = np.concatenate((low, np.zeros(count), floor))
    answer, code = _solve(wide, linear, np.hstack((rows, np.eye(count))), upper, lower)
    checked = _checked((None if answer is None else answer[:6], code), low, high, rows[:0], floor[:0])
    return Answer(checked.velocity, relaxed=True, infeasible=checked.infeasible)


def _solve(hessian: Array, linear: Array, rows: Array, upper: Array, lower: Array) -> tuple[Array | None, int]:
    if not (np.isfinite(hessian).all() and np.isfinite(linear).all() and np.isfinite(rows).all() and (lower <= upper).all()):
        return None, 0
    answer, _, code, _ = daqp.solve(hessian, linear, np.ascontiguousarray(rows), upper, lower, np.zeros(len(upper), np.int32))
    return answer, int(code)


def _checked(solved: tuple[Array | None, int], low: Array, high: Array, rows: Array, floor: Array) -> Answer:
    answer, code = solved
    if code < 1 or answer is None:
        return Answer(None, infeasible=code == INFEASIBLE)
    if np.shape(answer) != (6,) or not _satisfied(answer, low, high, rows, floor, TOLERANCE):
        return Answer(None)
    return Answer(np.clip(answer, low, high))


def _satisfied(x: Array, low: Array, high: Array, rows: Array, floor: Array, tolerance: float) -> bool:
    """Whether `x` is finite and keeps all rows; a NaN anywhere makes a comparison false, so it never passes."""
    inside = bool(((x >= low - tolerance) & (x <= high + tolerance)).all())
    return inside and bool((rows @ x >= floor - tolerance).all())
