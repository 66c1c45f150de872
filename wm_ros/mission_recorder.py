"""What the mission sees from outside: where the tool is, the camera, and what the controller and reach_pose say of themselves."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState

from wm_core.evaluation.mission_report import Attempt, Picture
from wm_core.robot.rotation import Array
from wm_ros import robot_description
from wm_ros.conversions import joint_positions, seconds
from wm_ros.images import picture
from wm_ros.msg import PlannerStatus, SafetyStatus

ENDED = (PlannerStatus.REACHED, PlannerStatus.FAILED, PlannerStatus.CANCELLED)


class MissionRecorder(Node):
    """Listens from the start; what happens between `begin` and `end` belongs to an attempt."""

    def __init__(self, patience: float) -> None:
        """`patience`: how long the arm may take to say what it is, s."""
        super().__init__("demo")
        robot_description.declare(self)
        self.set_parameters([Parameter("description_timeout", value=patience)])
        _, self._robot = robot_description.load(self)
        self._attempt: Attempt | None = None
        self._goal: Array = np.zeros(3)
        self._began = 0.0
        self.tool: Array | None = None
        self.image: Image | None = None
        self.images = 0
        self.statuses: dict[str, PlannerStatus] = {}
        self.armed = False
        self.create_subscription(JointState, "joint_states", self._on_joint_state, 100)
        self.create_subscription(SafetyStatus, "safety_guard/status", self._on_guard, 50)
        for name in ("reach_pose", "mpc_controller"):
            self.create_subscription(PlannerStatus, f"{name}/status", partial(self._on_status, name), 50)
        self.create_subscription(Image, "camera/front/image_raw", self._on_image, 5)

    def ready(self) -> bool:
        """Whether every node has been heard."""
        return self.tool is not None and self.image is not None and {"reach_pose", "mpc_controller"} <= self.statuses.keys()

    def view(self) -> Picture:
        """The newest camera picture, once `ready`."""
        if self.image is None:
            raise RuntimeError("view() before ready()")
        return picture(self.image)

    def away(self) -> float:
        """Distance of the tool from the goal of the attempt, m."""
        if self.tool is None:
            raise RuntimeError("away() before ready()")
        return float(np.linalg.norm(self.tool[:3, 3] - self._goal))

    def ended(self, name: str, goal_id: str = "") -> bool:
        """Whether a node's goal is over: that of this name, or whatever it was asked last."""
        status = self.statuses.get(name)
        return status is not None and status.state in ENDED and (not goal_id or status.goal_id == goal_id)

    def begin(self, attempt: Attempt, goal: Array) -> None:
        """From now on everything belongs to `attempt`, whose goal is the place (3,)."""
        self._attempt, self._goal, self._began = attempt, goal, time.monotonic()
        attempt.pictures["start"] = self.view()

    def end(self, attempt: Attempt) -> None:
        """The attempt is over."""
        status = self.statuses["mpc_controller"]
        self._attempt = None
        attempt.seconds, attempt.end_cm = time.monotonic() - self._began, 100.0 * self.away()
        attempt.reached = status.state == PlannerStatus.REACHED
        attempt.outcome, attempt.missed = "reached" if attempt.reached else status.text, int(status.missed_deadlines)
        attempt.pictures["end"] = self.view()

    def _on_joint_state(self, message: JointState) -> None:
        self.tool = self._robot.kinematics.tool_pose(joint_positions(message, self._robot.kinematics.names))
        if self._attempt is not None:
            self._attempt.away.append((time.monotonic() - self._began, self.away()))

    def _on_guard(self, message: SafetyStatus) -> None:
        self.armed = message.state == SafetyStatus.ARMED

    def _on_status(self, name: str, message: PlannerStatus) -> None:
        self.statuses[name] = message
        if self._attempt is not None and name == "mpc_controller" and message.state == PlannerStatus.EXECUTING:
            self._attempt.share.append((time.monotonic() - self._began, float(message.goal_distance)))
            self._attempt.planning_ms.append(1e3 * seconds(message.planning_time))

    def _on_image(self, message: Image) -> None:
        self.image = message
