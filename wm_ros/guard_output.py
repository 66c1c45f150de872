"""How the safety guard speaks to an arm: deltas for the embedded arm, a twist for MoveIt Servo, joint velocities for ros2_control."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64, Float64MultiArray

from wm_core.robot.guard import GuardResult
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import Output
from wm_core.robot.rotation import Array
from wm_ros.conversions import duration_message, time_message, vector_message
from wm_ros.msg import DeltaEECommand
from wm_ros.servo import ServoHandshake

KEEP_GRIPPER = -1.0
DELIVERY_TIMEOUT = Duration(seconds=0.1)


class TickMotion(NamedTuple):
    """What the arm does in one tick, in the three ways of saying it."""

    joint_velocity: Array | list[float]  # (6,) rad/s
    twist: Array | list[float]  # (6,) of the tool in base, m/s and rad/s
    delta: Array | list[float]  # (6,) of the tool in base within the tick, m and rad
    gripper: float | None  # 0 closed .. 1 open; None: as it is


STANDSTILL = TickMotion([0.0] * 6, [0.0] * 6, [0.0] * 6, None)


class GuardOutput(ABC):
    """The only publisher of the arm's command topic, and of its gripper topic where the command cannot carry the opening."""

    message_type: type

    def __init__(self, node: LifecycleNode, output: Output, base: str, config: GuardConfig) -> None:
        self._node, self._base, self._config = node, base, config
        self.topic = node.resolve_topic_name(output.topic)
        self._publisher = node.create_publisher(self.message_type, output.topic, 10)
        self._gripper = node.create_publisher(Float64, output.gripper_topic, 10) if output.gripper_topic else None

    def publish(self, result: GuardResult, now: float) -> None:
        """Send one tick's motion at `now` (s, ROS clock)."""
        self._publisher.publish(self._message(TickMotion(result.joint_velocity, result.twist, result.delta, result.gripper), now))
        if self._gripper is not None and result.gripper is not None:
            self._gripper.publish(Float64(data=float(result.gripper)))

    def publish_zero(self, now: float) -> None:
        """Send standstill and see it delivered, since the node may end right after; the gripper stays as it is."""
        self._publisher.publish(self._message(STANDSTILL, now))
        self._publisher.wait_for_all_acked(DELIVERY_TIMEOUT)

    def listeners(self) -> int:
        """Subscriptions on the command topic."""
        return int(self._publisher.get_subscription_count())

    def other_publishers(self) -> int:
        """Publishers on the topics of the command and the gripper beside these."""
        own = [publisher.topic_name for publisher in (self._publisher, self._gripper) if publisher is not None]
        return sum(max(0, self._node.count_publishers(topic) - 1) for topic in own)

    def not_ready(self) -> str:
        """Why the receiver cannot take commands yet; empty when it can."""
        return ""

    def close(self) -> None:
        """Take the topics back."""
        for publisher in (self._publisher, self._gripper):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    @abstractmethod
    def _message(self, motion: TickMotion, now: float) -> Any:
        """The command for one tick."""


class DeltaOutput(GuardOutput):
    """The tool's motion within one tick, for the embedded arm."""

    message_type = DeltaEECommand

    def _message(self, motion: TickMotion, now: float) -> Any:
        message = DeltaEECommand(
            translation=vector_message(motion.delta[:3]),
            rotation=vector_message(motion.delta[3:]),
            gripper=KEEP_GRIPPER if motion.gripper is None else float(motion.gripper),
            step=duration_message(self._config.period),
            valid_until=time_message(now + self._config.output_timeout),
        )
        message.header.frame_id, message.header.stamp = self._base, time_message(now)
        return message


class TwistOutput(GuardOutput):
    """The tool's speed for MoveIt Servo, in m/s and rad/s (Servo's command_in_type: speed_units)."""

    message_type = TwistStamped

    def __init__(self, node: LifecycleNode, output: Output, base: str, config: GuardConfig) -> None:
        # First, because it may be refused: then no topic is left behind.
        self._handshake = ServoHandshake(node, output.servo)
        super().__init__(node, output, base, config)

    def not_ready(self) -> str:
        return self._handshake.missing

    def close(self) -> None:
        self._handshake.close()
        super().close()

    def _message(self, motion: TickMotion, now: float) -> Any:
        message = TwistStamped()
        message.header.frame_id, message.header.stamp = self._base, time_message(now)
        message.twist.linear, message.twist.angular = vector_message(motion.twist[:3]), vector_message(motion.twist[3:])
        return message


class JointVelocityOutput(GuardOutput):
    """Joint velocities in the chain's order, for a ros2_control forward controller."""

    message_type = Float64MultiArray

    def _message(self, motion: TickMotion, now: float) -> Any:
        return Float64MultiArray(data=[float(value) for value in motion.joint_velocity])


KINDS: dict[str, type[GuardOutput]] = {"delta": DeltaOutput, "twist": TwistOutput, "joint_velocity": JointVelocityOutput}


def make(node: LifecycleNode, output: Output, base: str, config: GuardConfig) -> GuardOutput:
    """The output of the kind that the robot file names."""
    return KINDS[output.kind](node, output, base, config)
