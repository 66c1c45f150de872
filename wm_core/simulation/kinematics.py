"""Forward and differential inverse kinematics of the embedded arm, on a MuJoCo model that holds nothing but the arm."""

from __future__ import annotations

import mujoco
import numpy as np

from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation import arm

ITERATIONS = 3
DAMPING = 0.02
CONVERGED = 1e-10


class ArmKinematics:
    """Poses of `tool0` for joint positions q (6,) rad, and joint positions that approach a pose."""

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_string(arm.mjcf())
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site("tool0").id
        self._jacobian = np.zeros((6, self._model.nv))
        self._damping = DAMPING**2 * np.eye(6)

    def forward(self, q: Array) -> Array:
        """The pose of tool0 in base_link, 4x4."""
        self._data.qpos[:6] = q
        mujoco.mj_kinematics(self._model, self._data)
        return rotation.pose(self._data.site_xpos[self._site], self._data.site_xmat[self._site].reshape(3, 3))

    def approach(self, pose: Array, q: Array) -> Array:
        """Damped least squares from `q` towards `pose`: three times q += J^T (J J^T + d^2 I)^-1 e; near by, exact within nanometres."""
        q = q.copy()
        for _ in range(ITERATIONS):
            error = self._error(pose, q)
            if error @ error < CONVERGED**2:
                break
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
            jacobian = self._jacobian[:, :6]
            q += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + self._damping, error)
        return q

    def _error(self, pose: Array, q: Array) -> Array:
        """Metres and, as sin(angle) times axis, the turn from q's tool to `pose`: the same as the logarithm to third order, and cheap."""
        self._data.qpos[:6] = q
        mujoco.mj_kinematics(self._model, self._data)
        turn = pose[:3, :3] @ self._data.site_xmat[self._site].reshape(3, 3).T
        error = np.empty(6)
        error[:3] = pose[:3, 3] - self._data.site_xpos[self._site]
        error[3:] = 0.5 * (turn[2, 1] - turn[1, 2]), 0.5 * (turn[0, 2] - turn[2, 0]), 0.5 * (turn[1, 0] - turn[0, 1])
        return error
