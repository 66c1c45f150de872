"""The robot of a node: its robot file, and its URDF from a file or from the topic robot_description."""

from __future__ import annotations

import time
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from wm_core import configuration
from wm_core.errors import RobotModelError
from wm_core.robot.robot_config import Robot, RobotConfig, build, read_description

# Waiting is cut into slices, s: between two of them a signal can end the process.
SLICE = 0.5
PARAMETERS = ("robot_file", "description_timeout")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def declare(node: Node) -> None:
    """Declare the parameters that say which robot it is."""
    shipped = Path(get_package_share_directory("wm_ros")) / "config" / "ur5e.yaml"
    node.declare_parameter("robot_file", str(shipped), ParameterDescriptor(description="YAML file of the robot", read_only=True))
    text = "how long configuring waits for the topic robot_description [s]"
    node.declare_parameter("description_timeout", 10.0, ParameterDescriptor(description=text))


def load(node: Node) -> tuple[RobotConfig, Robot]:
    """Read the robot file and the URDF; waits for the topic where the file names no URDF."""
    config, description = read(node)
    return config, build(config, description, _source(node))


def read(node: Node) -> tuple[RobotConfig, str]:
    """The robot file, and the text of the URDF; waits for the topic where the file names none."""
    config = configuration.read(RobotConfig, _source(node))
    description = read_description(config, _source(node))
    return config, description if description is not None else _from_topic(node)


def _source(node: Node) -> Path:
    return Path(str(node.get_parameter("robot_file").value))


def _from_topic(node: Node) -> str:
    timeout = float(node.get_parameter("description_timeout").value or 0.0)
    deadline = time.monotonic() + timeout
    received, message = False, None
    while not received and time.monotonic() < deadline:
        left = min(SLICE, deadline - time.monotonic())
        received, message = wait_for_message(String, node, "robot_description", qos_profile=LATCHED, time_to_wait=max(left, 0.0))
    if not received or message is None:
        raise RobotModelError(
            f"no robot description came within {timeout:g} s",
            got=f"nothing on {node.resolve_topic_name('robot_description')}",
            allowed="a URDF as std_msgs/String, transient local, as robot_state_publisher and sim_arm send it",
            mend="start the arm first, or set description_file in the robot file",
        )
    return str(message.data)
