"""What a node that imagines listens to: latents, where the guard told the arm to be, and where the arm is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from wm_core.errors import WmError
from wm_core.planning.history import Reading
from wm_core.planning.sight import Sight, Source
from wm_core.robot.kinematics import Kinematics
from wm_ros.conversions import joint_positions, seconds
from wm_ros.guard_messages import GRIPPER
from wm_ros.latents import latents
from wm_ros.lifecycle import WmNode
from wm_ros.msg import LatentFrame

NEWEST = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class Watch:
    """Keeps the newest `span` seconds in `sight`; what cannot be read is logged and left out."""

    def __init__(self, node: WmNode[Any], kinematics: Kinematics, opening: float, span: float) -> None:
        """`opening` is that of a gripper that was never commanded, 0 closed .. 1 open."""
        self.sight = Sight(span)
        self._node, self._kinematics, self._opening = node, kinematics, opening

    def subscribe(self, on_frame: Callable[[], None] = lambda: None) -> None:
        """Begin to listen; called in `activate`, whose end ends it. `on_frame` is called after each frame."""
        self._on_frame = on_frame
        self._node.create_subscription(LatentFrame, "latents", self._guarded(self._see), NEWEST)
        self._node.create_subscription(JointState, "safety_guard/commanded", self._guarded(self._feel), NEWEST)
        self._node.create_subscription(JointState, "joint_states", self._guarded(self._measure), NEWEST)

    def now(self) -> float:
        """The clock of the stamps (s)."""
        return float(self._node.get_clock().now().nanoseconds) * 1e-9

    def _guarded(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def called(message: Any) -> None:
            try:
                take(message)
            except WmError as error:
                self._node.get_logger().warning(str(error), throttle_duration_sec=2.0)

        return called

    def _see(self, message: LatentFrame) -> None:
        grid = (message.grid_height, message.grid_width)
        source = Source(message.header.frame_id, message.encoder, message.encoder_hash, grid)
        self.sight.see(seconds(message.header.stamp), latents(message), source, self.now())
        self._on_frame()

    def _feel(self, message: JointState) -> None:
        joints = joint_positions(message, self._kinematics.names)
        opening = dict(zip(message.name, message.position, strict=True)).get(GRIPPER, self._opening)
        self.sight.feel(Reading(seconds(message.header.stamp), self._kinematics.tool_pose(joints), opening), joints)

    def _measure(self, message: JointState) -> None:
        if not set(self._kinematics.names).intersection(message.name):
            return  # somebody else's joints, a gripper's
        pose = self._kinematics.tool_pose(joint_positions(message, self._kinematics.names))
        self.sight.measure(Reading(seconds(message.header.stamp), pose, self._opening))
