"""Commands and joint states are looked at here before anything is computed with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard_config import CommandAge
from wm_core.robot.guard_model import Guard
from wm_core.robot.guard_state import Observed
from wm_core.robot.guard_status import Code

LARGEST = 1e15
"""Numbers beyond this are garbage: squared they would still be finite, but nobody means them."""

LATEST = 2147483647.0
"""The last second that a ROS Time can hold."""
STEP_ROUNDING = 1e-6
"""Seconds by which a step may fall short of the shortest: messages count whole nanoseconds."""

type Fault = tuple[Code, str]


def command_timeout(age: CommandAge, step: float) -> float:
    """Seconds that a command meant for `step` seconds is obeyed."""
    return min(max(age.steps * step, age.shortest), age.longest)


def check_command(guard: Guard, command: DeltaCommand, now: Now) -> Fault | None:
    """What is wrong with `command`, or None; COMMAND_STALE is the one fault that is bad luck and not garbage."""
    frames = (guard.base_frame, guard.tool_frame)
    if command.frame not in frames:
        return Code.COMMAND_FRAME, f"got '{command.frame}', allowed {frames[0]} or {frames[1]}"
    for name in ("translation", "rotation"):
        if _numbers(getattr(command, name), 3) is None:
            return Code.COMMAND_VALUE, f"{name} is {getattr(command, name)}"
    for name in ("gripper", "step", "stamp", "valid_until", "received"):
        if not _usable_number(getattr(command, name)):
            return Code.COMMAND_VALUE, f"{name} is {getattr(command, name)}"
    for name in ("stamp", "valid_until"):
        if getattr(command, name) > LATEST:
            return Code.COMMAND_VALUE, f"{name} is {getattr(command, name)}, allowed up to {LATEST:.0f} s"
    return _check_times(guard.config.command, command, now)


def _check_times(age: CommandAge, command: DeltaCommand, now: Now) -> Fault | None:
    if not age.shortest_step - STEP_ROUNDING <= command.step <= age.longest_step:
        return Code.COMMAND_STEP, f"got {command.step} s, allowed {age.shortest_step} .. {age.longest_step} s"
    timeout = command_timeout(age, command.step)
    if command.stamp > now.ros + age.future:
        return Code.COMMAND_STAMP, f"{command.stamp - now.ros:.3f} s ahead"
    if command.received > now.steady + age.future:
        return Code.COMMAND_STAMP, f"receipt {command.received - now.steady:.3f} s ahead"
    if command.valid_until <= now.ros:
        return Code.COMMAND_STALE, f"valid until {now.ros - command.valid_until:.3f} s ago"
    oldest = max(now.ros - command.stamp, now.steady - command.received)
    if oldest >= timeout:
        return Code.COMMAND_STALE, f"{oldest:.3f} s old, allowed {timeout:.3f} s"
    return None


def check_measurement(guard: Guard, measurement: Measurement, before: Observed | None, now: Now) -> Observed | Fault:
    """`measurement` in the order of the chain, or what is wrong with it; `before` is the valid one that preceded it."""
    order = before.order if before is not None and before.names == measurement.names else _order(guard, measurement, before)
    if isinstance(order, str):
        return Code.MEASUREMENT_NAMES, order
    position = _numbers(measurement.position, len(measurement.names))
    if position is None:
        return Code.MEASUREMENT_VALUE, f"position is {measurement.position}"
    sent = len(measurement.velocity) > 0
    velocity = _numbers(measurement.velocity, len(measurement.names)) if sent else []
    if velocity is None:
        return Code.MEASUREMENT_VALUE, f"velocity is {measurement.velocity}"
    fault = _check_stamps(guard, measurement, before, now)
    if fault:
        return fault
    ordered = [position[index] for index in order]
    speed = max(abs(velocity[index]) for index in order) if sent else _speed(ordered, measurement, before)
    return Observed(measurement.names, order, ordered, speed, measurement.stamp, measurement.received)


def _order(guard: Guard, measurement: Measurement, before: Observed | None) -> list[int] | str:
    """Where the joints of the chain are among the names sent, or what is wrong with those."""
    names = measurement.names
    missing = [name for name in guard.limits.names if name not in names]
    if missing:
        return f"missing {', '.join(missing)}"
    if len(set(names)) != len(names):
        return "a joint is named twice"
    return "the order changed" if before is not None else [names.index(name) for name in guard.limits.names]


def _check_stamps(guard: Guard, measurement: Measurement, before: Observed | None, now: Now) -> Fault | None:
    if not (_usable_number(measurement.stamp) and _usable_number(measurement.received)):
        return Code.MEASUREMENT_VALUE, f"stamp is {measurement.stamp}, receipt {measurement.received}"
    if before is not None and measurement.stamp <= before.stamp:
        return Code.MEASUREMENT_STAMP, f"{measurement.stamp} after {before.stamp}"
    ahead = max(measurement.stamp - now.ros, measurement.received - now.steady)
    if ahead > guard.config.joint_state.brake:
        return Code.MEASUREMENT_STAMP, f"{ahead:.3f} s ahead"
    return None


def _speed(position: list[float], measurement: Measurement, before: Observed | None) -> float | None:
    """The largest joint speed in rad/s, told from two joint states that carry no velocity."""
    if before is None:
        return None
    moved = max(abs(now - then) for now, then in zip(position, before.position, strict=True))
    return moved / (measurement.stamp - before.stamp)


def _numbers(values: Any, count: int) -> list[float] | None:
    """`values` as floats, or None unless they are `count` usable numbers."""
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return None
    if numbers.shape != (count,):
        return None
    listed: list[float] = numbers.tolist()
    return listed if all(-LARGEST <= number <= LARGEST for number in listed) else None


def _usable_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and math.isfinite(value) and -LARGEST <= float(value) <= LARGEST
