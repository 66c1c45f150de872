"""Singularities: how near the arm is to one, and joint velocities that stay bounded there."""

from __future__ import annotations

import math

import numpy as np

from wm_core.robot.rotation import Array

DAMPING = 0.05


def condition_number(jacobian: Array) -> float:
    """Largest over smallest singular value of J (6, 6), in metres and radians; inf at a singularity."""
    values = np.linalg.svd(jacobian, compute_uv=False)
    largest, smallest = float(values[0]), float(values[-1])
    return largest / smallest if smallest > 1e-12 * largest else math.inf


def joint_velocity(jacobian: Array, twist: Array, slow: float) -> tuple[Array, float]:
    """Joint velocity (6,) rad/s with J dq = twist (6,), and the condition number of J, or a bound on it that is below `slow`.

    Past `slow` dq is increasingly damped: J^T (J J^T + k^2 I)^-1 twist. The Frobenius norms of J and its inverse bound the condition
    number from above and cost less than singular values.
    """
    try:
        inverse = np.linalg.inv(jacobian)
        bound = math.sqrt(np.vdot(jacobian, jacobian) * np.vdot(inverse, inverse))
    except np.linalg.LinAlgError:
        inverse, bound = jacobian, math.inf
    condition = bound if bound <= slow else condition_number(jacobian)
    if condition <= slow:
        return inverse @ twist, condition
    damping = DAMPING * DAMPING * (1.0 - (slow / condition) ** 2)
    return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping * np.eye(6), twist), condition


def approach_share(condition: float, slow: float, halt: float) -> float:
    """The share of speed left while approaching: 1 up to `slow`, falling to 0 at `halt`."""
    if condition <= slow:
        return 1.0
    return max(0.0, (halt - condition) / (halt - slow)) if halt > slow else 0.0
