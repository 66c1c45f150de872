"""What the demonstration sees: joint states, guard, executed deltas and camera, written into a `Demonstration`."""

from __future__ import annotations

import time

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState

from wm_core.evaluation.guard_demo_report import Demonstration, Leg
from wm_core.robot.rotation import Array, pose_error
from wm_ros import robot_description
from wm_ros.conversions import array, joint_positions, seconds
from wm_ros.images import picture
from wm_ros.msg import ExecutedDelta, PlannerStatus, SafetyStatus

FRAME_PERIOD = 0.5


class GuardDemoRecorder(Node):
    """Listens to everything from the start; `begin` and `end` say which leg it belongs to."""

    def __init__(self, demonstration: Demonstration, patience: float) -> None:
        """`patience`: how long the arm may take to say what it is, s."""
        super().__init__("guard_demo")
        robot_description.declare(self)
        self.set_parameters([Parameter("description_timeout", value=patience)])
        _, self._robot = robot_description.load(self)
        self._record = demonstration
        self._start: float | None = None
        self._stamp_offset: float | None = None
        self._pose: Array | None = None
        self._leg: Leg | None = None
        self._heard: set[str] = set()
        self._mode = SafetyStatus.DISARMED
        self.leg_state = PlannerStatus.IDLE
        self._leg_text = self._goal = self._goal_before = ""
        self.create_subscription(JointState, "joint_states", self._on_joint_state, 100)
        self.create_subscription(SafetyStatus, "safety_guard/status", self._on_guard, 50)
        self.create_subscription(ExecutedDelta, "safety_guard/executed", self._on_executed, 50)
        self.create_subscription(PlannerStatus, "reach_pose/status", self._on_reach, 50)
        self.create_subscription(Image, "camera/front/image_raw", self._on_image, 5)

    def ready(self) -> bool:
        """Whether every node has been heard."""
        return {"arm", "guard", "reach", "camera"} <= self._heard

    @property
    def armed(self) -> bool:
        """Whether the guard says so."""
        return bool(self._mode == SafetyStatus.ARMED)

    def tool(self) -> Array:
        """The measured pose of the tool, once `ready`."""
        if self._pose is None:
            raise RuntimeError("tool() before ready()")
        return self._pose

    def begin(self, leg: Leg) -> None:
        """What happens from now on belongs to `leg`."""
        leg.began = self._now()
        self._goal_before = self._goal
        self.leg_state, self._leg_text = PlannerStatus.IDLE, ""
        self._record.legs.append(leg)
        self._leg = leg

    def end(self, target: Array) -> None:
        """The leg is over; the tool should be at `target`."""
        leg, self._leg = self._leg, None
        if leg is None:
            raise RuntimeError("end() without begin()")
        leg.seconds = self._now() - leg.began
        leg.reached = self.leg_state == PlannerStatus.REACHED
        leg.outcome = {PlannerStatus.REACHED: "reached", PlannerStatus.CANCELLED: "cancelled"}.get(self.leg_state, self._leg_text)
        leg.error_mm = 1000.0 * float(np.linalg.norm(pose_error(target, self.tool())[:3]))

    def _now(self) -> float:
        wall = time.monotonic()
        self._start = wall if self._start is None else self._start
        return wall - self._start

    def _on_joint_state(self, message: JointState) -> None:
        self._heard.add("arm")
        self._pose = self._robot.kinematics.tool_pose(joint_positions(message, self._robot.kinematics.names))
        x, y, z = self._pose[:3, 3].tolist()
        # By their stamps: the times of arrival jitter by more than a joint state's period.
        stamp = seconds(message.header.stamp)
        self._stamp_offset = self._now() - stamp if self._stamp_offset is None else self._stamp_offset
        self._record.path.append((stamp + self._stamp_offset, x, y, z))

    def _on_guard(self, message: SafetyStatus) -> None:
        self._heard.add("guard")
        self._record.counters = {
            name: getattr(message, name) for name in ("ticks", "commands", "rejected", "expired", "limited", "latched")
        }
        if message.state == SafetyStatus.STOPPED and self._mode != SafetyStatus.STOPPED:
            self._record.stops.append(message.text)
        self._mode = message.state
        if self._leg is not None:
            for name in message.active_limits:
                self._leg.cut[name] = self._leg.cut.get(name, 0) + 1

    def _on_executed(self, message: ExecutedDelta) -> None:
        asked, done = (float(np.linalg.norm(array(vector))) for vector in (message.requested.translation, message.translation))
        self._record.speeds.append((self._now(), asked / max(seconds(message.requested.step), 1e-6)))
        if self._leg is not None:
            self._leg.requested_mm += 1000.0 * asked
            self._leg.executed_mm += 1000.0 * done
            self._leg.smallest_scale = min(self._leg.smallest_scale, float(message.scale))

    def _on_reach(self, message: PlannerStatus) -> None:
        self._heard.add("reach")
        self._goal = message.goal_id
        if message.goal_id != self._goal_before:  # reach_pose repeats the end of the last goal until it has a new one
            self.leg_state, self._leg_text = message.state, message.text

    def _on_image(self, message: Image) -> None:
        self._heard.add("camera")
        now = self._now()
        if not self._record.frames or now - self._record.frames[-1][0] >= FRAME_PERIOD:
            self._record.frames.append((now, picture(message)))
