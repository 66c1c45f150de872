"""What a plan may ask of the arm, put onto candidate actions before they are imagined: where deltas lead is known exactly.

A step is shortened to the longest allowed one, cut at the walls of the workspace, turned no further than the tool may lean, and scaled
down where a joint would pass its limit or its speed. Rotations are composed. A tool that starts outside may move inward only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.configuration import setting
from wm_core.errors import PlanningError
from wm_core.planning import rotations
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.limits import Limits
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array, quaternion

DAMPING = 0.02  # of the least-squares step in joint space: near singularities it underestimates speeds rather than exploding


@dataclass(frozen=True)
class StepLimits:
    """How far one step of the model may go, and where."""

    linear_speed: float = setting("Largest speed of the tool", unit="m/s", low=0.001, high=2.0)
    angular_speed: float = setting("Largest rotation speed of the tool", unit="rad/s", low=0.0, high=6.0)
    low: tuple[float, float, float] = setting("Lowest corner of the box the tool stays in", unit="m", low=-10.0, high=10.0)
    high: tuple[float, float, float] = setting("Highest corner of that box", unit="m", low=-10.0, high=10.0)
    lean: tuple[float, float, float] = setting(
        "Largest rotation away from pointing straight down, about x, y and z", unit="rad", low=0.0, high=3.1416
    )

    def __post_init__(self) -> None:
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise PlanningError("the planner's box is empty", got=f"{self.low} .. {self.high}", allowed="low below high", mend="limits.low")


@dataclass(frozen=True)
class ToolState:
    """Where a plan starts: tool position (3,) m, rotation matrix (3, 3), opening 0 closed .. 1 open, and joints (6,) rad where known."""

    position: Array
    rotation: Array
    gripper: float
    joints: Array | None = None


@dataclass(frozen=True)
class JointBounds:
    """The arm's own limits, for plans whose joints are known at the start; positions and speeds as the safety guard keeps them."""

    kinematics: Kinematics
    lower: Array
    upper: Array
    speed: Array

    @staticmethod
    def of(kinematics: Kinematics, limits: Limits, margin: float, speed_share: float) -> JointBounds:
        """Limits less `margin` (rad) on both sides, and this share of the largest speeds."""
        return JointBounds(kinematics, limits.lower + margin, limits.upper - margin, speed_share * limits.velocity)

    def shares(self, joints: Array, twists: Array, seconds: float) -> tuple[Array, Array]:
        """How much (N,) 0 .. 1 of displacements (N, 6) the joints (N, 6) allow within `seconds`, and the joints after that share."""
        _, jacobians = self.kinematics.tools_and_jacobians(joints)
        damped = jacobians @ jacobians.transpose(0, 2, 1) + DAMPING**2 * np.eye(6)
        way = (jacobians.transpose(0, 2, 1) @ np.linalg.solve(damped, twists[..., None]))[..., 0]
        room = np.where(way > 0.0, self.upper - joints, joints - self.lower)
        longest = np.minimum(np.maximum(room, 0.0), self.speed * seconds)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(np.abs(way) > 1e-12, longest / np.abs(way), 1.0).min(axis=1).clip(0.0, 1.0)
        return shares, joints + shares[:, None] * way


@dataclass(frozen=True)
class Bounds:
    """Everything that is put onto a candidate; `seconds` is the time of one step of the model."""

    limits: StepLimits
    seconds: float
    joints: JointBounds | None = None

    def feasible(self, actions: Array, start: ToolState) -> Array:
        """Candidates (N, H, 7) as near to the given ones as the limits let them be; feasible ones stay as they are."""
        self._check(actions, start)
        result = np.array(actions, dtype=np.float64)
        result[..., 6] = result[..., 6].clip(0.0, 1.0)
        position, turned = self._start(start, len(actions))
        joints = None if start.joints is None or self.joints is None else np.tile(start.joints, (len(actions), 1))
        for step in range(actions.shape[1]):
            shift = shortened(result[:, step, :3], self.limits.linear_speed * self.seconds)
            turn = shortened(result[:, step, 3:6], self.limits.angular_speed * self.seconds)
            shift = self._inside(position, shift)
            turn = self._upright(turned, turn)
            if joints is not None and self.joints is not None:
                shares, joints = self.joints.shares(joints, np.concatenate([shift, turn], axis=1), self.seconds)
                shift, turn = shares[:, None] * shift, shares[:, None] * turn
            position, turned = position + shift, rotations.product(rotations.of_vectors(turn), turned)
            result[:, step, :3], result[:, step, 3:6] = shift, turn
        return result

    def _start(self, start: ToolState, count: int) -> tuple[Array, Array]:
        """Positions (N, 3), and rotations away from straight down (N, 4)."""
        return np.tile(start.position, (count, 1)), np.tile(quaternion(start.rotation @ DOWN.T), (count, 1))

    def _inside(self, position: Array, shift: Array) -> Array:
        low = np.minimum(np.array(self.limits.low), position)
        high = np.maximum(np.array(self.limits.high), position)
        return (position + shift).clip(low, high) - position

    def _upright(self, turned: Array, turn: Array) -> Array:
        lean, now = np.array(self.limits.lean), rotations.vectors(turned)
        asked = rotations.vectors(rotations.product(rotations.of_vectors(turn), turned))
        kept = asked.clip(np.minimum(-lean, now), np.maximum(lean, now))
        if np.array_equal(kept, asked):
            return turn
        cut = rotations.vectors(rotations.product(rotations.of_vectors(kept), rotations.inverse(turned)))
        return np.where((kept == asked).all(axis=1, keepdims=True), turn, shortened(cut, self.limits.angular_speed * self.seconds))

    def _check(self, actions: Array, start: ToolState) -> None:
        if actions.ndim != 3 or actions.shape[2] != 7:
            raise PlanningError("candidates are not actions", got=actions.shape, allowed="(samples, horizon, 7)")
        joints = np.zeros(0) if start.joints is None else start.joints
        known = (actions, start.position, start.rotation, np.array(start.gripper), joints)
        if not all(bool(np.isfinite(part).all()) for part in known):
            raise PlanningError("candidates or their start are not finite", mend="check the joint states and the warm start")


def shortened(vectors: Array, longest: float) -> Array:
    """Vectors (N, 3), those longer than `longest` scaled to it."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * np.minimum(1.0, longest / np.maximum(length, 1e-12))
