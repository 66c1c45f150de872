"""One picture of the camera, fetched when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from wm_core.errors import WmError
from wm_ros.images import ImageError, Picture, compressed_picture, picture
from wm_ros.lifecycle import WmNode

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class CurrentView:
    """Hears image_raw and image_raw/compressed until the first picture has come, or for `patience` seconds."""

    def __init__(self, node: WmNode[Any], patience: float, taken: Callable[[Picture | WmError], None]) -> None:
        """`taken` gets the picture, or why there is none."""
        self._node, self._taken = node, taken
        self._hearing = [
            node.create_subscription(Image, "image_raw", lambda message: self._end(lambda: picture(message)), NEWEST),
            node.create_subscription(
                CompressedImage, "image_raw/compressed", lambda message: self._end(lambda: compressed_picture(message)), NEWEST
            ),
        ]
        self._timer = node.create_timer(patience, lambda: self._end(lambda: self._missing(patience)))

    def _missing(self, patience: float) -> Picture:
        topic = self._node.resolve_topic_name("image_raw")
        raise ImageError("no picture came", got=f"nothing on {topic} within {patience:g} s", mend="is the camera running?")

    def _end(self, look: Callable[[], Picture]) -> None:
        if not self._hearing:
            return
        for subscription in self._hearing:
            self._node.destroy_subscription(subscription)
        self._node.destroy_timer(self._timer)
        self._hearing = []
        try:
            self._taken(look())
        except WmError as error:
            self._taken(error)
