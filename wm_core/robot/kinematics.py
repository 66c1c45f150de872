"""Forward kinematics and the geometric Jacobian of a 6-joint chain.

Every link frame is first turned, once and for all, so that its joint turns about its own z axis. With F the fixed pose of a joint in
the link before it, the pose of its link is F Rz(q), which is linear in sin q and cos q:

    T(q) = cos(q) [f0 f1 0 0] + sin(q) [f1 -f0 0 0] + [0 0 f2 f3],    F = [f0 f1 f2 f3]

so that a posture costs one batched sum and six 4x4 products, and the joint axes are columns of the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wm_core.errors import RobotModelError, nearest
from wm_core.robot.rotation import Array, pose
from wm_core.robot.urdf import Chain


class Posture(NamedTuple):
    """Where the arm is at one q, in the base frame: poses `frames` (6, 4, 4) of the joints' links, z along the joint, and `tool` (4, 4)."""

    frames: Array
    tool: Array

    def jacobian(self) -> Array:
        """The geometric Jacobian J (6, 6) of the tool: twist = J dq; rows linear (m/s) then angular (rad/s), in the base frame."""
        result = np.empty((6, 6))
        result[3:] = axes = self.frames[:, :3, 2].T
        arm = self.tool[:3, 3, None] - self.frames[:, :3, 3].T
        ax, ay, az = axes
        rx, ry, rz = arm
        result[0] = ay * rz - az * ry
        result[1] = az * rx - ax * rz
        result[2] = ax * ry - ay * rx
        return result


class Kinematics:
    """The kinematics of one chain; immutable after construction."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.names = chain.names
        turns = [pose(np.zeros(3), _z_onto(joint.axis)) for joint in chain.joints]
        before = [np.eye(4), *turns[:-1]]
        fixed = np.array([first.T @ joint.origin @ turn for first, joint, turn in zip(before, chain.joints, turns, strict=True)])
        self._cosine, self._sine, self._constant = np.zeros((3, 6, 4, 4))
        self._cosine[..., :2] = fixed[..., :2]
        self._sine[..., 0], self._sine[..., 1] = fixed[..., 1], -fixed[..., 0]
        self._constant[..., 2:] = fixed[..., 2:]
        self._links = {name: (index, offset if index < 0 else turns[index].T @ offset) for name, (index, offset) in chain.links.items()}
        self._tool = self._links[chain.tool][1]

    def posture(self, q: Array) -> Posture:
        """Frames of the arm at joint positions `q` (6,) rad."""
        local = np.cos(q)[:, None, None] * self._cosine
        local += np.sin(q)[:, None, None] * self._sine
        local += self._constant
        frames = np.empty((6, 4, 4))
        frames[0] = place = local[0]
        for index in range(1, 6):
            place = np.dot(place, local[index], out=frames[index])
        return Posture(frames, np.dot(place, self._tool))

    def tools_and_jacobians(self, q: Array) -> tuple[Array, Array]:
        """Tool poses (N, 4, 4) and Jacobians (N, 6, 6) at many joint positions (N, 6) rad at once."""
        cosine, sine = np.cos(q)[..., None, None], np.sin(q)[..., None, None]
        local = cosine * self._cosine + sine * self._sine + self._constant
        frames = [place := local[:, 0]] + [place := place @ local[:, index] for index in range(1, 6)]
        tools = place @ self._tool
        axes = np.stack([frame[:, :3, 2] for frame in frames], axis=2)
        arms = np.stack([tools[:, :3, 3] - frame[:, :3, 3] for frame in frames], axis=2)
        return tools, np.concatenate([np.cross(axes, arms, axis=1), axes], axis=1)

    def tool_pose(self, q: Array) -> Array:
        """Pose (4, 4) of the tool in the base frame at `q` (6,) rad."""
        return self.posture(q).tool

    def jacobian(self, q: Array) -> Array:
        """The geometric Jacobian (6, 6) of the tool in the base frame at `q` (6,) rad."""
        return self.posture(q).jacobian()

    def link(self, name: str) -> tuple[int, Array]:
        """The joint that moves link `name` (-1: none) and the pose (4, 4) of the link in that joint's frame in a `Posture`."""
        if name not in self._links:
            raise RobotModelError("no such link between base and tool", got=name, allowed=nearest(name, self._links), mend="rename it")
        return self._links[name]

    def link_pose(self, name: str, q: Array) -> Array:
        """Pose (4, 4) of link `name` in the base frame at `q` (6,) rad."""
        index, offset = self.link(name)
        return offset if index < 0 else self.posture(q).frames[index] @ offset


def _z_onto(axis: Array) -> Array:
    """A rotation (3, 3) that takes z to the unit vector `axis` (3,)."""
    helper = np.eye(3)[int(np.abs(axis).argmin())]
    first = np.cross(helper, axis)
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(axis, first), axis]).T
