"""The cameras of the embedded arm as ROS topics: raw and compressed images, and camera info."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wm_core.simulation.embedded_arm import EmbeddedArm, Snapshot
from wm_core.simulation.sim_config import SimConfig
from wm_ros.images import camera_info, compressed_message, image_message


def optical_frame(camera: str) -> str:
    """The frame images of `camera` are seen in: x right, y down, z forward."""
    return f"camera_{camera}_optical_frame"


class SimCameras:
    """Publishes the pictures that somebody listens to; rendering is most of what the arm costs.

    In real time a second arm draws them in a thread of its own from a snapshot, so that a large picture never holds up the joint states;
    a picture that is due while the one before is still being drawn is skipped. In lock-step they are drawn before time goes on.
    """

    def __init__(self, node: LifecycleNode, arm: EmbeddedArm, config: SimConfig) -> None:
        self._node, self._arm = node, arm
        self._waits = config.mode == "lock_step"
        self._model = arm if self._waits else EmbeddedArm(config)
        self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="camera")
        self._drawing: Future[None] | None = None
        self.skipped = 0
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
        if self._waits:
            self._draw(None, stamp)
        elif self._drawing is not None and not self._drawing.done():
            self.skipped += 1
        else:
            if self._drawing is not None:
                self._drawing.result()  # an error in the thread is an error here
            self._drawing = self._painter.submit(self._draw, self._arm.snapshot(), stamp)

    def _draw(self, snapshot: Snapshot | None, stamp: Time) -> None:
        if snapshot is not None:
            self._model.restore(snapshot)
        for camera, (raw, compressed, info) in self._publishers.items():
            frame = optical_frame(camera)
            intrinsics = self._model.intrinsics(camera)
            info.publish(camera_info(intrinsics.width, intrinsics.height, intrinsics.matrix(), frame, stamp))
            wants_raw, wants_compressed = raw.get_subscription_count() > 0, compressed.get_subscription_count() > 0
            if not (wants_raw or wants_compressed):
                continue
            picture = self._model.render(camera)
            if wants_raw:
                raw.publish(image_message(picture, frame, stamp))
            if wants_compressed:
                compressed.publish(compressed_message(picture, frame, stamp))

    def close(self) -> None:
        """Take the topics back, after the last picture."""
        self._painter.shutdown(wait=True)
        for publishers in self._publishers.values():
            for publisher in publishers:
                self._node.destroy_publisher(publisher)
