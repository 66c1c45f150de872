"""Inverse kinematics by damped least squares: dq = J^T (J J^T + damping^2 I)^-1 error, repeated until the pose is reached."""

from __future__ import annotations

import numpy as np

from wm_core.errors import WmError
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.rotation import Array, pose_error


class UnreachableError(WmError):
    """No joint positions were found that put the tool where it was asked to be."""


def solve_pose(
    kinematics: Kinematics,
    target: Array,
    seed: Array,
    *,
    position_tolerance: float = 1e-6,
    rotation_tolerance: float = 1e-6,
    iterations: int = 200,
    largest_step: float = 0.3,
    lower: Array | None = None,
    upper: Array | None = None,
) -> Array:
    """Joint positions (6,) rad, near `seed` (6,), whose tool pose is `target` (4, 4) within the tolerances (m, rad).

    The damping is the size of the remaining error, so that steps are cautious far away and Newton's near the end; no joint moves by
    more than `largest_step` rad per iteration, and `lower` and `upper` (6,), where given, are never left.
    """
    if not (np.isfinite(target).all() and np.isfinite(seed).all()):
        raise UnreachableError("target and seed must be finite", got=f"{target.tolist()}, {np.asarray(seed).tolist()}")
    q = seed.astype(np.float64)
    error: Array = np.zeros(6)
    for _ in range(iterations):
        posture = kinematics.posture(q)
        error = pose_error(target, posture.tool)
        if np.linalg.norm(error[:3]) <= position_tolerance and np.linalg.norm(error[3:]) <= rotation_tolerance:
            return q
        jacobian = posture.jacobian()
        damping = min(1e-2, float(error @ error))
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + (damping + 1e-12) * np.eye(6), error)
        q = q + step * min(1.0, largest_step / max(float(np.abs(step).max()), 1e-12))
        if lower is not None or upper is not None:
            q = np.clip(q, lower, upper)
    raise UnreachableError(
        f"the pose was not reached in {iterations} iterations",
        got=f"{np.linalg.norm(error[:3]):.4f} m and {np.linalg.norm(error[3:]):.4f} rad away",
        allowed=f"{position_tolerance:g} m, {rotation_tolerance:g} rad",
        mend="ask for a pose within reach or start from a nearer posture",
    )
