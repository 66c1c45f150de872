"""Arm, guard and commander as processes on a domain of their own, with an observer beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from observer import Observer
from ros_process import RosProcess, claim_domain, node_command
from sensor_msgs.msg import JointState

from wm_core.robot.command import DeltaCommand
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm
from wm_ros.conversions import delta_message, joint_positions, seconds
from wm_ros.msg import DeltaEECommand, SafetyStatus

GUARD, ARM, REACH = "/safety_guard", "/sim_arm", "/reach_pose"
AT_REST = 0.01  # rad/s; the speed below which the guard lets an arm be armed
FEED_PERIOD = 0.05
# Tests that are not about time give the nodes some: a machine that is busy elsewhere holds a process up for longer than an arm may wait.
CALM = {"joint_state.brake": 0.5, "joint_state.latch": 2.0, "output_timeout": 1.0}


class ArmSystem:
    """Real nodes; `close` ends them all."""

    def __init__(self, folder: Path, namespace: str = "") -> None:
        self._folder, self.namespace, self.domain = folder, namespace, claim_domain()
        self.processes: dict[str, RosProcess] = {}
        self.observer = Observer(self.domain.number)
        self.kinematics = Kinematics(read_chain(arm.urdf()))
        self.statuses: list[SafetyStatus] = self.observer.hear(SafetyStatus, f"{namespace}{GUARD}/status")
        self.joint_states: list[JointState] = self.observer.hear(JointState, f"{namespace}/joint_states")

    def start(
        self,
        executable: str,
        node: str = "",
        environment: dict[str, str] | None = None,
        remappings: dict[str, str] | None = None,
        **parameters: object,
    ) -> RosProcess:
        """Start one node; parameters and remappings as on the command line, `environment` beside what it needs anyway."""
        name = node or executable
        command = node_command(executable, node=node, parameters=parameters, remappings=remappings)
        log = self._folder / f"{name}_{len(self.processes)}.log"
        self.processes[name] = RosProcess(command, self.domain, log, **(environment or {}))
        return self.processes[name]

    def bring_up(self, *executables: str, **guard_parameters: object) -> ArmSystem:
        """Start these nodes (arm, guard and commander when none is named) and wait until the guard has joint states."""
        for executable in executables or ("sim_arm", "safety_guard", "reach_pose"):
            self.start(executable, **(guard_parameters if executable == "safety_guard" else {}))
        self.await_ready()
        return self

    def await_ready(self) -> None:
        """Wait until the arm and the guard speak."""
        self.observer.until(lambda: self.statuses and self.joint_states, lambda: f"the nodes start; they said: {self.said()}")

    def arm(self) -> None:
        """Arm the guard as soon as it agrees."""
        answers: list[str] = []

        def armed() -> bool:
            answer = self.observer.trigger(f"{self.namespace}{GUARD}/arm")
            answers.append(answer.message)
            return bool(answer.success)

        self.observer.until(armed, f"the guard arms; it said {answers}")
        self.await_status(lambda status: status.state == SafetyStatus.ARMED, "ARMED")

    def trace(self) -> None:
        """Have reach_pose trace a square, as soon as it knows that the guard is armed."""
        service = f"{self.namespace}{REACH}/trace"
        self.observer.until(lambda: self.observer.trigger(service).success, "reach_pose begins")

    def close(self) -> None:
        for process in self.processes.values():
            process.end()
        self.observer.close()
        self.domain.release()

    def said(self) -> str:
        return "\n".join(f"--- {name}\n{process.output()}" for name, process in self.processes.items())

    def await_status(self, wanted: Callable[[SafetyStatus], object], what: str, within: float = 10.0) -> SafetyStatus:
        """The first status from now on that is wanted."""
        seen = len(self.statuses)
        self.observer.until(lambda: any(map(wanted, self.statuses[seen:])), f"{what}; last: {self.statuses[-1:]}", within)
        return next(filter(wanted, self.statuses[seen:]))

    def await_message(self, messages: list[Any], what: str, within: float = 10.0) -> Any:
        """The next message of a list that `observer.hear` fills."""
        seen = len(messages)
        self.observer.until(lambda: len(messages) > seen, f"a message: {what}", within)
        return messages[-1]

    def delta(
        self, translation: Sequence[float] = (0.0, 0.0, 0.0), rotation: Sequence[float] = (0.0, 0.0, 0.0), **fields: Any
    ) -> DeltaEECommand:
        """A valid command of a 0.1 s step, stamped now; `fields` replace those of DeltaCommand."""
        now = self.observer.now()
        known = {
            "frame": "base_link",
            "gripper": -1.0,
            "step": 0.1,
            "stamp": now,
            "valid_until": now + 0.3,
            "plan_id": "test",
            "step_index": 0,
        }
        vectors = {"translation": np.array(translation, dtype=float), "rotation": np.array(rotation, dtype=float)}
        return delta_message(DeltaCommand(received=now, **vectors, **{**known, **fields}))

    def feed(self, translation: Sequence[float], rotation: Sequence[float] = (0.0, 0.0, 0.0), **fields: Any) -> Callable[[], None]:
        """Send one command every FEED_PERIOD from now on; returns the function that ends it."""
        send = self.observer.sender(DeltaEECommand, "delta_command")
        return self.observer.repeat(FEED_PERIOD, lambda: send(self.delta(translation, rotation, **fields)))

    def speed(self) -> float:
        """The largest joint speed in the newest joint state, rad/s."""
        return speed(self.joint_states[-1]) if self.joint_states else 0.0

    def await_motion(self, faster_than: float = 0.05) -> None:
        """Wait until the arm is measured to move, rad/s."""
        self.observer.until(lambda: self.speed() > faster_than, lambda: f"the arm moves; {self.statuses[-1:]}")

    def pause(self, seconds: float) -> None:
        """Let that much ROS time pass."""
        end = self.observer.now() + seconds
        self.observer.until(lambda: self.observer.now() >= end, "time passes")

    def await_rest(self, within: float = 10.0) -> None:
        """Wait until the arm is at rest in twenty joint states in a row."""
        seen = len(self.joint_states)
        rest = lambda: len(self.joint_states) >= seen + 20 and all(speed(s) < AT_REST for s in self.joint_states[-20:])  # noqa: E731
        self.observer.until(rest, "the arm comes to rest", within)

    def time_to_rest(self, since: float, watched: float = 0.6) -> float:
        """Seconds from `since` (ROS clock) until the arm was at rest and stayed so, told by the stamps of the joint states."""
        end = since + watched
        self.observer.until(lambda: stamp(self.joint_states[-1]) > end, "joint states go on")
        moving = [stamp(state) for state in self.joint_states if stamp(state) > since and speed(state) >= AT_REST]
        return max(moving, default=since) - since

    def positions(self) -> np.ndarray:
        """(6,) rad, newest."""
        return joint_positions(self.joint_states[-1], arm.JOINTS)

    def tool(self) -> np.ndarray:
        """The measured pose (4, 4) of the tool, newest."""
        return self.kinematics.tool_pose(self.positions())


def speed(state: JointState) -> float:
    """The largest joint speed of the arm, rad/s."""
    return float(np.abs(state.velocity[:6]).max())


def stamp(message: Any) -> float:
    return seconds(message.header.stamp)


def wall() -> float:
    """The system clock, which ROS time follows, s."""
    return time.time()
