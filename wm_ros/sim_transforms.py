"""The frames of the embedded arm on /tf: its links and its cameras."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from tf2_msgs.msg import TFMessage

from wm_core.robot.kinematics import Kinematics
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as arm_table
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_ros.conversions import transform_message
from wm_ros.sim_cameras import optical_frame


class SimTransforms:
    """Publishes every link and camera in base_link."""

    def __init__(self, node: LifecycleNode, arm: EmbeddedArm, config: SimConfig) -> None:
        self._node, self._arm, self._cameras = node, arm, config.cameras
        self._kinematics = Kinematics(read_chain(arm_table.urdf()))
        self._publisher = node.create_publisher(TFMessage, "/tf", 20)

    def publish(self, stamp: Time) -> None:
        """Publish where everything is now."""
        chain = self._kinematics.chain
        frames = self._kinematics.posture(self._arm.joint_positions).frames
        placed = {name: self._kinematics.link(name) for name in chain.links if name != chain.base}
        poses = {name: frames[joint] @ pose if joint >= 0 else pose for name, (joint, pose) in placed.items()}
        transforms = [transform_message(chain.base, link, pose, stamp) for link, pose in poses.items()]
        transforms += [
            transform_message("base_link", optical_frame(camera), self._arm.camera_pose(camera), stamp) for camera in self._cameras
        ]
        self._publisher.publish(TFMessage(transforms=transforms))

    def close(self) -> None:
        """Take the topic back."""
        self._node.destroy_publisher(self._publisher)
