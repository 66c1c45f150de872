"""Forward kinematics and the geometric Jacobian of a 6-joint chain.

With F_i the fixed origin of joint i, k_i its axis and K_i = skew(k_i), Rodrigues' formula makes the pose of link i in link i-1

    T_i(q_i) = F_i + sin(q_i) F_i K_i + (1 - cos(q_i)) F_i K_i^2

whose three matrices are computed once; a pose then costs one batched sum and six 4x4 products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.errors import RobotModelError, nearest
from wm_core.robot.rotation import Array, skew
from wm_core.robot.urdf import Chain

YZX, ZXY = np.array([1, 2, 0]), np.array([2, 0, 1])


@dataclass(frozen=True)
class Posture:
    """Where the arm is at one q: `frames` (6, 4, 4) of the links that the joints move, `tool` (4, 4), axes and origins (6, 3) in base."""

    frames: Array
    tool: Array
    axes: Array
    origins: Array

    def jacobian(self) -> Array:
        """The geometric Jacobian J (6, 6) of the tool: twist = J dq; rows linear (m/s) then angular (rad/s), in the base frame."""
        return self.jacobian_at(self.tool[:3, 3])

    def jacobian_at(self, point: Array) -> Array:
        """The Jacobian (6, 6) of a `point` (3,) in base, fixed to the last link; columns of joints beyond its own link are the caller's."""
        arm = point - self.origins
        axes = self.axes
        result = np.empty((6, 6))
        result[:3] = (axes[:, YZX] * arm[:, ZXY] - axes[:, ZXY] * arm[:, YZX]).T
        result[3:] = axes.T
        return result


class Kinematics:
    """The kinematics of one chain; immutable after construction."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.names = chain.names
        fixed = np.array([joint.origin for joint in chain.joints])
        turn = np.zeros((6, 4, 4))
        turn[:, :3, :3] = [skew(joint.axis) for joint in chain.joints]
        self._fixed = fixed
        self._sine = fixed @ turn
        self._versine = fixed @ turn @ turn
        self._axes = np.array([[*joint.axis, 0.0] for joint in chain.joints])[:, :, None]
        self._tool = chain.links[chain.tool][1]

    def posture(self, q: Array) -> Posture:
        """Frames of the arm at joint positions `q` (6,) rad."""
        sine = np.sin(q)[:, None, None]
        versine = 1.0 - np.cos(q)[:, None, None]
        local = self._fixed + sine * self._sine + versine * self._versine
        frames = np.empty((6, 4, 4))
        frames[0] = local[0]
        for index in range(1, 6):
            np.dot(frames[index - 1], local[index], out=frames[index])
        return Posture(frames, frames[5] @ self._tool, (frames @ self._axes)[:, :3, 0], frames[:, :3, 3])

    def tool_pose(self, q: Array) -> Array:
        """Pose (4, 4) of the tool in the base frame at `q` (6,) rad."""
        return self.posture(q).tool

    def jacobian(self, q: Array) -> Array:
        """The geometric Jacobian (6, 6) of the tool in the base frame at `q` (6,) rad."""
        return self.posture(q).jacobian()

    def link(self, name: str) -> tuple[int, Array]:
        """The joint that moves link `name` (-1: none) and the pose (4, 4) of the link in that joint's frame."""
        if name not in self.chain.links:
            raise RobotModelError("no such link between base and tool", got=name, allowed=nearest(name, self.chain.links), mend="rename it")
        return self.chain.links[name]

    def link_pose(self, name: str, q: Array) -> Array:
        """Pose (4, 4) of link `name` in the base frame at `q` (6,) rad."""
        index, offset = self.link(name)
        return offset if index < 0 else self.posture(q).frames[index] @ offset
