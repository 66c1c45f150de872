"""The cameras of the embedded arm as ROS topics: raw and compressed images, and camera info."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_ros.images import camera_info, compressed_message, image_message


def optical_frame(camera: str) -> str:
    """The frame images of `camera` are seen in: x right, y down, z forward."""
    return f"camera_{camera}_optical_frame"


class SimCameras:
    """Publishes the pictures that somebody listens to; rendering is most of what the arm costs."""

    def __init__(self, node: LifecycleNode, arm: EmbeddedArm, config: SimConfig) -> None:
        self._node, self._arm = node, arm
        self._publishers = {
            camera: (
                node.create_publisher(Image, f"camera/{camera}/image_raw", 5),
                node.create_publisher(CompressedImage, f"camera/{camera}/image_raw/compressed", 5),
                node.create_publisher(CameraInfo, f"camera/{camera}/camera_info", 5),
            )
            for camera in config.cameras
        }

    def publish(self, stamp: Time) -> None:
        """Render and publish what every camera sees now."""
        for camera, (raw, compressed, info) in self._publishers.items():
            frame = optical_frame(camera)
            intrinsics = self._arm.intrinsics(camera)
            info.publish(camera_info(intrinsics.width, intrinsics.height, intrinsics.matrix(), frame, stamp))
            wants_raw, wants_compressed = raw.get_subscription_count() > 0, compressed.get_subscription_count() > 0
            if not (wants_raw or wants_compressed):
                continue
            picture = self._arm.render(camera)
            if wants_raw:
                raw.publish(image_message(picture, frame, stamp))
            if wants_compressed:
                compressed.publish(compressed_message(picture, frame, stamp))

    def close(self) -> None:
        """Take the topics back."""
        for publishers in self._publishers.values():
            for publisher in publishers:
                self._node.destroy_publisher(publisher)
