"""A guard on the embedded arm, and a rig that ticks it with an arm that follows perfectly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from wm_core import configuration
from wm_core.robot import guard as guards
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.guard_status import Mode
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.limits import Limits
from wm_core.robot.robot_config import read_robot
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as embedded

CONFIG = Path(__file__).parents[2] / "config"
WIRING = guards.Wiring(listeners=1, other_publishers=0)
HOME = np.array(embedded.HOME)


def make_limits(**changes: Any) -> Limits:
    return dataclasses.replace(read_robot(CONFIG / "ur5e.yaml", embedded.urdf()).limits, **changes)


def make_config(changes: dict[str, Any] | None = None, **fields: Any) -> GuardConfig:
    """The shipped configuration with dotted settings changed, and whole fields replaced."""
    shipped = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")
    return dataclasses.replace(configuration.replace_flat(shipped, changes or {}, "test"), **fields)


def make_guard(
    changes: dict[str, Any] | None = None, limits: Limits | None = None, output_is_delta: bool = False, **fields: Any
) -> guards.Guard:
    chain = read_chain(embedded.urdf())
    return guards.Guard(make_config(changes, **fields), limits or make_limits(), Kinematics(chain), output_is_delta)


class Rig:
    """Ticks a guard; the arm follows unless `arm_follows` is turned off. Published velocities are kept in `published`."""

    def __init__(self, guard: guards.Guard, q: Any = HOME, armed: bool = True) -> None:
        self.guard, self.time, self.period = guard, 1000.0, guard.config.period
        self.q = np.array(q, dtype=float)
        self.velocity = np.zeros(6)
        self.state = guards.initial_state(guard)
        self.published: list[Any] = []
        self.results: list[guards.GuardResult] = []
        self.arm_follows = self.joint_states = True
        if armed:
            reply = self.arm()
            assert reply.accepted, reply.text

    @property
    def now(self) -> Now:
        return Now(self.time, self.time)

    def measurement(self, **changes: Any) -> Measurement:
        plain = Measurement(self.guard.limits.names, self.q.copy(), self.velocity.copy(), self.time, self.time)
        return dataclasses.replace(plain, **changes)

    def command(self, translation: Any = (0.0, 0.0, 0.0), rotation: Any = (0.0, 0.0, 0.0), **changes: Any) -> DeltaCommand:
        """A command decided and received now, meant for 0.1 s and valid for 1 s."""
        translation, rotation = np.array(translation, dtype=float), np.array(rotation, dtype=float)
        plain = DeltaCommand("base_link", translation, rotation, 0.5, 0.1, self.time, self.time + 1.0, self.time, "plan", 0)
        return dataclasses.replace(plain, **changes)

    def arm(self, wiring: guards.Wiring = WIRING, measurement: Measurement | None = None) -> guards.ArmReply:
        self.time += self.period
        self.state, reply = guards.arm(self.guard, self.state, measurement or self.measurement(), self.now, wiring)
        self.time += 1e-6  # what is commanded next comes after the arming, not with it
        return reply

    def tick(self, command: DeltaCommand | None = None, measurement: Measurement | None = None, elapsed: float | None = None) -> Any:
        elapsed = self.period if elapsed is None else elapsed
        self.time += elapsed
        if self.arm_follows:
            self.q = self.q + self.velocity * elapsed
        if measurement is None and self.joint_states:
            measurement = self.measurement()
        self.state, result = guards.step(self.guard, self.state, command, measurement, self.now)
        self.velocity = result.joint_velocity
        self.published.append(result.joint_velocity)
        self.results.append(result)
        return result

    def drive(self, ticks: int, translation: Any = (0.0, 0.0, 0.0), rotation: Any = (0.0, 0.0, 0.0), **changes: Any) -> Any:
        """The same delta again every 10 ticks, for `ticks` ticks; the last result."""
        result = None
        for index in range(ticks):
            result = self.tick(self.command(translation, rotation, **changes) if index % 10 == 0 else None)
        return result

    def rest(self, ticks: int = 200) -> Any:
        result = None
        for _ in range(ticks):
            result = self.tick()
        return result

    def tool(self) -> Any:
        return self.guard.kinematics.tool_pose(self.q)

    def is_armed(self) -> bool:
        return self.state.mode is Mode.ARMED
