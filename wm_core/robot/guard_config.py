"""Every number of the safety guard, with its sentence, unit and range; config/safety_guard.yaml carries them.

`tighter` says, for every setting that may change while the guard runs, in which direction it gets safer; while the arm is ARMED a
change in the other direction is refused.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from wm_core.configuration import flatten, setting
from wm_core.errors import ConfigurationError


@dataclass(frozen=True)
class JointLimits:
    """How the limits of the joints are kept."""

    position_margin: float = setting("distance kept from the position limits of the URDF", unit="rad", low=0.0, high=1.0, live=True)
    recovery_speed: float = setting("largest speed back inside, outside the margin", unit="rad/s", low=0.0, high=0.1, live=True)
    past_limit: float = setting("measured position past the URDF's limit that stops the arm", unit="rad", low=0.0, high=0.1, live=True)
    velocity_fraction: float = setting("share of the URDF's velocity that is used", low=0.0, high=1.0, live=True)


@dataclass(frozen=True)
class ToolSpeed:
    """The largest speed of the tool; a command's twist is scaled as a whole, so that its direction is kept."""

    linear: float = setting("largest speed of the tool point", unit="m/s", low=0.0, high=2.0, live=True)
    angular: float = setting("largest rotation speed of the tool", unit="rad/s", low=0.0, high=6.0, live=True)


@dataclass(frozen=True)
class Gripper:
    """The gripper: 0 closed .. 1 open."""

    speed: float = setting("largest change of the opening per second", unit="1/s", low=0.0, high=100.0, live=True)


@dataclass(frozen=True)
class Workspace:
    """The box the tool point stays in, base frame; null: open on that side, and 0.0 is a wall at zero."""

    min_x: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)
    max_x: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)
    min_y: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)
    max_y: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)
    min_z: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)
    max_z: float | None = setting("wall", unit="m", low=-10.0, high=10.0, default=None)


@dataclass(frozen=True)
class Sphere:
    """A ball that the tool point stays out of, base frame."""

    centre: tuple[float, float, float] = setting("centre", unit="m", low=-10.0, high=10.0)
    radius: float = setting("radius", unit="m", low=0.0, high=10.0)


@dataclass(frozen=True)
class Barrier:
    """The control barriers of workspace and keep-out spheres: approach speed <= gain * distance."""

    gain: float = setting("approach speed allowed per metre of distance", unit="1/s", low=0.1, high=50.0, live=True)
    inflation: float = setting("distance added to every wall and sphere", unit="m", low=0.0, high=0.2, live=True)
    relaxed_ticks: int = setting("ticks in a row with a relaxed barrier that stop the arm", low=1, high=100)


@dataclass(frozen=True)
class Collision:
    """Distances between capsules of the arm, and to the table."""

    slow: float = setting("distance at which approach begins to slow", unit="m", low=0.0, high=1.0, live=True)
    stop: float = setting("distance at which approach has stopped", unit="m", low=0.0, high=1.0, live=True)


@dataclass(frozen=True)
class Singularity:
    """Condition numbers of the Jacobian (metres and radians)."""

    slow: float = setting("condition number at which approach begins to slow", low=1.0, high=1e6, live=True)
    halt: float = setting("condition number at which approach has stopped", low=1.0, high=1e6, live=True)


@dataclass(frozen=True)
class CommandAge:
    """How long a command is obeyed: min(valid_until, receipt + clamp(steps * its step, shortest, longest))."""

    steps: float = setting("multiple of the command's step", low=1.0, high=10.0, live=True)
    shortest: float = setting("lower end of the clamp", unit="s", low=0.0, high=1.0, live=True)
    longest: float = setting("upper end of the clamp", unit="s", low=0.0, high=1.0, live=True)
    shortest_step: float = setting("smallest step a command may have", unit="s", low=0.001, high=1.0)
    longest_step: float = setting("largest step a command may have", unit="s", low=0.001, high=10.0)
    future: float = setting("how far ahead of our clock a header stamp may be", unit="s", low=0.0, high=1.0)
    rejects: int = setting("invalid commands within one second that stop the arm", low=1, high=1000)


@dataclass(frozen=True)
class JointStateAge:
    """Age of the newest joint state, by receipt and by header stamp, whichever is older."""

    brake: float = setting("age at which the arm brakes", unit="s", low=0.0, high=1.0, live=True)
    latch: float = setting("age at which the arm stops for good", unit="s", low=0.0, high=5.0, live=True)


@dataclass(frozen=True)
class Tracking:
    """Difference between commanded and measured joint positions."""

    error: float = setting("largest difference of a joint", unit="rad", low=0.0, high=3.0, live=True)
    duration: float = setting("time beyond it that stops the arm", unit="s", low=0.0, high=5.0, live=True)


@dataclass(frozen=True)
class Arming:
    """What must hold before the arm may be armed."""

    speed: float = setting("largest measured joint speed", unit="rad/s", low=0.0, high=1.0)
    quiet: float = setting("time for which the input was silent or zero", unit="s", low=0.0, high=10.0)


@dataclass(frozen=True)
class GuardConfig:
    """The safety guard; config/safety_guard.yaml."""

    rate: float = setting("ticks per second", unit="Hz", low=20.0, high=1000.0)
    output_timeout: float = setting("time after which the arm stops by itself when it hears nothing", unit="s", low=0.01, high=1.0)
    joints: JointLimits = setting("joint limits")
    tool_speed: ToolSpeed = setting("speed of the tool")
    gripper: Gripper = setting("gripper")
    workspace: Workspace = setting("box for the tool point")
    barrier: Barrier = setting("workspace and keep-out barriers")
    collision: Collision = setting("self collision and table")
    singularity: Singularity = setting("singularities")
    command: CommandAge = setting("age of commands")
    joint_state: JointStateAge = setting("age of joint states")
    tracking: Tracking = setting("tracking error")
    arming: Arming = setting("conditions for arming")
    keep_out: tuple[Sphere, ...] = setting("spheres that the tool point stays out of", default=())

    def __post_init__(self) -> None:
        pairs = {
            "collision.stop <= collision.slow": (self.collision.stop, self.collision.slow),
            "singularity.slow <= singularity.halt": (self.singularity.slow, self.singularity.halt),
            "command.shortest <= command.longest": (self.command.shortest, self.command.longest),
            "command.shortest_step <= command.longest_step": (self.command.shortest_step, self.command.longest_step),
            "joint_state.brake <= joint_state.latch": (self.joint_state.brake, self.joint_state.latch),
        } | {
            f"workspace.min_{axis} < workspace.max_{axis}": (low, high)
            for axis in "xyz"
            if (low := getattr(self.workspace, f"min_{axis}")) is not None and (high := getattr(self.workspace, f"max_{axis}")) is not None
        }
        for rule, (low, high) in pairs.items():
            if low > high or (low == high and "<=" not in rule):
                raise ConfigurationError("two settings contradict each other", got=f"{low} and {high}", allowed=rule, mend="change one")

    @property
    def period(self) -> float:
        """Seconds between two ticks."""
        return 1.0 / self.rate


HIGHER_IS_TIGHTER = ("joints.position_margin", "barrier.inflation", "collision.slow", "collision.stop")
"""Live settings that protect more when they grow; every other live setting protects more when it shrinks."""


def loosened(old: GuardConfig, new: GuardConfig) -> list[str]:
    """What `new` allows that `old` did not, one sentence each: "tool_speed.linear from 0.2 to 0.3"."""
    found = []
    before, after = flatten(old), flatten(new)
    for name in before.keys() & after.keys():
        was, now = before[name][0], after[name][0]
        if was == now or name.startswith("workspace."):
            continue
        looser = not before[name][1].live or (now < was if name in HIGHER_IS_TIGHTER else now > was)
        if looser:
            found.append(f"{name} from {was} to {now}")
    found += [f"workspace.{side}" for side in _opened(old.workspace, new.workspace)]
    if new.keep_out[: len(old.keep_out)] != old.keep_out:
        found.append("keep_out (spheres may only be added)")
    return sorted(found)


def _opened(old: Workspace, new: Workspace) -> list[str]:
    def open_side(name: str, was: Any, now: Any) -> bool:
        if was is None or was == now:
            return False
        return now is None or (now < was if name.startswith("min") else now > was)

    sides = [field.name for field in dataclasses.fields(Workspace)]
    return [
        f"{name} from {getattr(old, name)} to {getattr(new, name)}"
        for name in sides
        if open_side(name, getattr(old, name), getattr(new, name))
    ]
