"""Reach a pose, or trace a square of poses, in small deltas from where the tool is measured to be: a way to check an arm.

The delta of one step is a share `gain` of what is missing, no faster than asked: e = pose_error(target, tool), delta = gain e, each
half scaled to at most speed * step. A waypoint is reached when the error stayed within the tolerance for `settle` steps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError
from wm_core.robot import rotation
from wm_core.robot.rotation import Array, pose_error

PLANES = {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}


@dataclass(frozen=True)
class ReachConfig:
    """How poses are reached; config/reach_pose.yaml."""

    rate: float = setting("delta commands per second", unit="Hz", low=1.0, high=50.0)
    pose: tuple[float, float, float, float, float, float] = setting(
        "where ~/reach goes: position and rotation vector of the tool in the base frame", unit="m, rad", low=-10.0, high=10.0, live=True
    )
    side: float = setting("side of the square that ~/trace draws from where the tool is", unit="m", low=0.01, high=1.0, live=True)
    plane: str = setting("plane of the square, in the base frame", choices=tuple(PLANES), live=True)
    gain: float = setting("share of the remaining error that one step corrects", low=0.05, high=1.0, live=True)
    linear_speed: float = setting("largest speed asked for", unit="m/s", low=0.001, high=1.0, live=True)
    angular_speed: float = setting("largest rotation speed asked for", unit="rad/s", low=0.001, high=3.0, live=True)
    position_tolerance: float = setting("error at which a pose counts as reached", unit="m", low=0.0005, high=0.1, live=True)
    rotation_tolerance: float = setting("error at which a rotation counts as reached", unit="rad", low=0.001, high=0.5, live=True)
    settle: int = setting("steps in a row within the tolerance", low=1, high=100, live=True)
    timeout: float = setting("time for one waypoint before giving up", unit="s", low=0.5, high=600.0, live=True)


class Outcome(IntEnum):
    """What a step of the reach came to."""

    MOVING = 0
    REACHED = 1
    TIMED_OUT = 2


@dataclass(frozen=True)
class Reach:
    """Progress along `waypoints` (4, 4): which one is next, for how many steps it has been within tolerance, and since when it is tried."""

    waypoints: tuple[Array, ...]
    started: float
    index: int = 0
    settled: int = 0


@dataclass(frozen=True)
class Step:
    """The delta of one step, (3,) m and (3,) rad in the base frame, and the errors it was made from."""

    translation: Array
    rotation: Array
    position_error: float
    rotation_error: float
    outcome: Outcome


def pose_of(values: tuple[float, ...]) -> Array:
    """Six numbers, position (m) and rotation vector (rad), as a 4x4 pose."""
    if len(values) != 6 or not np.isfinite(values).all():
        raise ConfigurationError("a pose is six finite numbers", got=values, allowed="x y z (m), rotation vector (rad)")
    return rotation.pose(np.array(values[:3]), rotation.matrix(np.array(values[3:])))


def square(start: Array, side: float, plane: str) -> tuple[Array, ...]:
    """The corners of a square of edge `side` (m) that begins and ends at the pose `start` and keeps its orientation."""
    first, second = PLANES[plane]
    corners = []
    for along, across in ((1, 0), (1, 1), (0, 1), (0, 0)):
        corner = start.copy()
        corner[first, 3] += side * along
        corner[second, 3] += side * across
        corners.append(corner)
    return tuple(corners)


def advance(config: ReachConfig, reach: Reach, tool: Array, now: float) -> tuple[Reach, Step]:
    """One step at `now` (s) from the measured pose `tool` (4, 4)."""
    error = pose_error(reach.waypoints[reach.index], tool)
    position_error, rotation_error = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
    inside = position_error <= config.position_tolerance and rotation_error <= config.rotation_tolerance
    settled = reach.settled + 1 if inside else 0
    reach = dataclasses.replace(reach, settled=settled)
    outcome = Outcome.MOVING
    if settled >= config.settle:
        last = reach.index + 1 == len(reach.waypoints)
        outcome = Outcome.REACHED if last else outcome
        reach = reach if last else dataclasses.replace(reach, index=reach.index + 1, settled=0, started=now)
    elif now - reach.started > config.timeout:
        outcome = Outcome.TIMED_OUT
    return reach, Step(*_delta(config, error), position_error, rotation_error, outcome)


def _delta(config: ReachConfig, error: Array) -> tuple[Array, Array]:
    step = 1.0 / config.rate
    return (
        _at_most(config.gain * error[:3], config.linear_speed * step),
        _at_most(config.gain * error[3:], config.angular_speed * step),
    )


def _at_most(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
