"""What the guard remembers from tick to tick, and what a tick gives back. All immutable; arrays are never written to.

Named tuples, because making a changed copy of one costs a third of what it costs with a frozen dataclass, several times a tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wm_core.robot.collision import Clearance
from wm_core.robot.command import DeltaCommand, Measurement
from wm_core.robot.guard_status import Code, Mode
from wm_core.robot.rotation import Array

STILL = np.zeros(6)
STILL.setflags(write=False)


class Counters(NamedTuple):
    """What happened since the guard was made."""

    ticks: int = 0
    commands: int = 0  # accepted
    rejected: int = 0  # commands and joint states refused as invalid
    late: int = 0  # commands that came too late to be obeyed
    expired: int = 0  # commands that ran out before the next one came
    limited: int = 0  # ticks in which a limit cut the motion
    relaxed: int = 0  # ticks in which a barrier had to be relaxed
    unsolved: int = 0  # ticks in which the solver's answer could not be used
    unverified: int = 0  # ticks in which the verification refused the motion
    latched: int = 0  # times the guard went to STOPPED
    overruns: int = 0  # ticks that began more than half a period late


class Hold(NamedTuple):
    """The command in force."""

    command: DeltaCommand
    twist: Array  # (6,) m/s, rad/s in the command's frame, within the tool's speed
    in_tool_frame: bool
    until_steady: float  # seconds, steady clock
    began: float  # seconds, ROS clock
    start: Array  # (4, 4) commanded tool pose when it began


class Observed(NamedTuple):
    """The newest valid joint state, in the order of the chain."""

    names: tuple[str, ...]  # as sent, to notice another order
    order: list[int]  # where the joints of the chain are among them
    position: list[float]  # (6) rad
    speed: float | None  # largest |velocity| in rad/s; None when not sent and not yet to be told from two states
    stamp: float
    received: float


class GuardState(NamedTuple):
    """The memory of the guard; `initial_state` makes the first one."""

    mode: Mode = Mode.DISARMED
    code: Code = Code.DISARMED
    detail: str = ""
    q: Array = STILL  # (6,) rad, commanded: integrated from what was published, never measured
    velocity: Array = STILL  # (6,) rad/s, last published
    acceleration: Array = STILL  # (6,) rad/s^2, last published
    gripper: float | None = None
    hold: Hold | None = None
    observed: Observed | None = None
    clearance: Clearance | None = None  # the last look at collisions
    seen: Measurement | None = None  # the last joint state looked at, valid or not
    steady: float | None = None  # seconds, the last tick
    ros: float | None = None
    moved_input: float | None = None  # steady time of the last command that asked for motion
    rejected_at: tuple[float, ...] = ()  # steady times of the last invalid commands
    armed_at: float | None = None  # steady time; commands received until then are not obeyed
    tracking_since: float | None = None
    relaxed_run: int = 0
    refused: str = ""  # why this tick's command or joint state was refused
    counters: Counters = Counters()


class Executed(NamedTuple):
    """What became of one policy step. `requested` and `executed` (6,): metres then rotation vector in rad, in the base frame."""

    command: DeltaCommand
    plan_id: str
    step_index: int
    requested: Array
    executed: Array  # composed: the commanded tool pose at the end relative to the start
    gripper: float | None
    began: float  # seconds, ROS clock
    duration: float  # seconds
    scale: float  # share of the requested motion that was sent: 0 none .. 1 all


class GuardResult(NamedTuple):
    """The outcome of one tick."""

    joint_velocity: Array  # (6,) rad/s
    twist: Array  # (6,) of the tool point, m/s and rad/s, in the base frame
    gripper: float | None  # 0 closed .. 1 open; None until a command named one
    publish: bool  # False while disarmed and at rest: an idle controller is silent
    mode: Mode
    code: Code
    text: str
    scale: float  # share of the asked speed that is left: 0 none .. 1 all
    active: tuple[str, ...]  # every limit that cut this tick, e.g. joint_position:elbow_joint
    refused: str  # why this tick's command or joint state was refused; empty when none was
    counters: Counters
    executed: Executed | None = None
    delta: Array = STILL  # (6,) displacement of the tool within this tick, m and rotation vector in base; zeros unless output_is_delta


@dataclass(frozen=True)
class Wiring:
    """What the node sees on the topic that moves the arm, and whether an emergency stop is still held."""

    listeners: int
    other_publishers: int
    estop: bool = False


@dataclass(frozen=True)
class ArmReply:
    """Whether `~/arm` or `~/disarm` was granted, and why not."""

    accepted: bool
    code: Code
    text: str
