"""What the guard knows and never changes while it runs: configuration, limits and kinematics, and what is precomputed from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wm_core.errors import ConfigurationError
from wm_core.robot.barrier import Barriers
from wm_core.robot.collision import CollisionModel
from wm_core.robot.guard_config import GuardConfig, loosened
from wm_core.robot.guard_status import Mode
from wm_core.robot.joint_box import JointRange
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.limits import Limits


@dataclass(frozen=True)
class Guard:
    """A safety guard for one arm; hand it to `guard.step` with a `GuardState`."""

    config: GuardConfig
    limits: Limits
    kinematics: Kinematics
    output_is_delta: bool = False  # the arm carries out each tick's displacement once, instead of a velocity until the next
    barriers: Barriers = field(init=False, repr=False)
    collision: CollisionModel = field(init=False, repr=False)
    joints: JointRange = field(init=False, repr=False)
    hard_range: tuple[list[float], list[float]] = field(init=False, repr=False)  # lower and upper limits of the URDF, rad

    def __post_init__(self) -> None:
        if self.limits.names != self.kinematics.names:
            raise ConfigurationError(
                "limits and kinematics are of different arms", got=self.limits.names, allowed=str(self.kinematics.names)
            )
        object.__setattr__(self, "barriers", Barriers(self.config))
        object.__setattr__(self, "collision", CollisionModel(self.limits, self.kinematics))
        object.__setattr__(self, "joints", _joint_range(self.config, self.limits))
        object.__setattr__(self, "hard_range", (self.limits.lower.tolist(), self.limits.upper.tolist()))

    @property
    def base_frame(self) -> str:
        return self.kinematics.chain.base

    @property
    def tool_frame(self) -> str:
        return self.kinematics.chain.tool


def _joint_range(config: GuardConfig, limits: Limits) -> JointRange:
    margin = config.joints.position_margin
    lower, upper = limits.lower + margin, limits.upper - margin
    for index in np.flatnonzero(lower >= upper):
        raise ConfigurationError(
            f"the position margin leaves {limits.names[index]} no room",
            got=f"{margin} rad on {limits.lower[index]} .. {limits.upper[index]}",
            mend="lower joints.position_margin",
        )
    return JointRange(
        lower=lower.tolist(),
        upper=upper.tolist(),
        velocity=(limits.velocity * config.joints.velocity_fraction).tolist(),
        acceleration=limits.acceleration.tolist(),
        jerk=limits.jerk.tolist(),
        recovery_speed=config.joints.recovery_speed,
        period=config.period,
    )


def tighten(guard: Guard, config: GuardConfig, mode: Mode) -> Guard:
    """`guard` with another configuration; while ARMED (or STOPPED and perhaps still moving) limits may only get tighter."""
    looser = loosened(guard.config, config)
    if looser and mode is not Mode.DISARMED:
        raise ConfigurationError(
            "limits may only be tightened while the guard is armed or stopped",
            got="; ".join(looser),
            allowed="tighter values",
            mend="call ~/disarm first",
        )
    return Guard(config, guard.limits, guard.kinematics, guard.output_is_delta)
