"""The limits of an arm: positions and velocities from its URDF; accelerations, jerks and collision shapes from a YAML file.

A URDF has no field for acceleration or jerk, so both are required keys: a joint without them is refused by name. Zero is a limit
(the joint may not move); a missing number never means "no limit".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError, RobotModelError, nearest
from wm_core.robot.rotation import Array
from wm_core.robot.urdf import Chain


@dataclass(frozen=True)
class Capsule:
    """A cylinder with round ends that stands for a piece of the arm; points in metres in the frame of its link."""

    link: str = setting("link that carries it, between the base link and the tool")
    start: tuple[float, float, float] = setting("centre of one end", unit="m", low=-5.0, high=5.0)
    end: tuple[float, float, float] = setting("centre of the other end", unit="m", low=-5.0, high=5.0)
    radius: float = setting("radius", unit="m", low=0.0, high=1.0)
    table: bool = setting("keep it clear of the table", default=True)


@dataclass(frozen=True)
class ArmLimits:
    """What a URDF lacks: the key `limits` of a robot file."""

    acceleration: dict[str, float] = setting("largest acceleration of each joint", unit="rad/s^2", low=0.0, high=1000.0)
    jerk: dict[str, float] = setting("largest jerk of each joint", unit="rad/s^3", low=0.0, high=1e6)
    capsules: dict[str, Capsule] = setting("collision shapes by name", default={})
    allowed_contacts: tuple[tuple[str, str], ...] = setting("pairs of capsules that may touch", default=())
    table_height: float | None = setting(
        "height of the table in the base frame; null: no table", unit="m", low=-5.0, high=5.0, default=None
    )


@dataclass(frozen=True)
class Limits:
    """All limits of an arm in joint order; arrays (6,): rad, rad/s, rad/s^2, rad/s^3."""

    names: tuple[str, ...]
    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    capsules: dict[str, Capsule]
    allowed_contacts: tuple[tuple[str, str], ...]
    table_height: float | None


def combine(chain: Chain, extra: ArmLimits, source: str) -> Limits:
    """The limits in the URDF's `chain` and in `extra`, which came from the file `source`, checked against each other."""
    _check_capsules(chain, extra, source)
    return Limits(
        names=chain.names,
        lower=np.array([joint.lower for joint in chain.joints]),
        upper=np.array([joint.upper for joint in chain.joints]),
        velocity=np.array([joint.velocity for joint in chain.joints]),
        acceleration=_per_joint(chain.names, extra.acceleration, "acceleration", source),
        jerk=_per_joint(chain.names, extra.jerk, "jerk", source),
        capsules=extra.capsules,
        allowed_contacts=extra.allowed_contacts,
        table_height=extra.table_height,
    )


def _per_joint(names: tuple[str, ...], values: Mapping[str, float], what: str, source: str) -> Array:
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigurationError(
            f"no {what} limit for {', '.join(missing)}",
            allowed="a number for each of " + ", ".join(names),
            mend=f"add '{what}.{missing[0]}: ...' to {source}",
        )
    for name in values:
        if name not in names:
            raise ConfigurationError(f"{what} limit for an unknown joint", got=name, allowed=nearest(name, names), mend=f"change {source}")
    return np.array([values[name] for name in names])


def _check_capsules(chain: Chain, extra: ArmLimits, source: str) -> None:
    for name, capsule in extra.capsules.items():
        if capsule.link not in chain.links:
            allowed = nearest(capsule.link, chain.links)
            raise RobotModelError(f"capsule {name} in {source} is on an unknown link", got=capsule.link, allowed=allowed, mend="rename it")
    for pair in extra.allowed_contacts:
        for name in pair:
            if name not in extra.capsules:
                allowed = nearest(name, extra.capsules) if extra.capsules else "no capsules are defined"
                raise ConfigurationError("allowed_contacts names an unknown capsule", got=name, allowed=allowed, mend=f"change {source}")
