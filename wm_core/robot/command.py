"""What the guard is told: a delta end-effector command, a joint measurement, and the time, as plain data without ROS."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class Now:
    """One instant on two clocks, seconds: `steady` never jumps and drives the watchdogs, `ros` is what headers are stamped with."""

    steady: float
    ros: float


@dataclass(frozen=True)
class DeltaCommand:
    """One policy step: move the tool by `translation` and `rotation` within `step` seconds; unvalidated, as it came in."""

    frame: str
    translation: Array  # (3,) metres per step, in `frame`
    rotation: Array  # (3,) rotation vector, rad per step, in `frame`
    gripper: float  # 0 closed .. 1 open; negative: leave it as it is
    step: float  # seconds the delta is meant for
    stamp: float  # header stamp, seconds on the ROS clock
    valid_until: float  # seconds on the ROS clock; never acted on later
    received: float  # receipt, seconds on the steady clock
    plan_id: str
    step_index: int


@dataclass(frozen=True)
class Measurement:
    """One joint state as it came in: names in the order sent, positions rad, velocities rad/s (empty when not sent)."""

    names: tuple[str, ...]
    position: Array
    velocity: Array
    stamp: float  # header stamp, seconds on the ROS clock
    received: float  # receipt, seconds on the steady clock
