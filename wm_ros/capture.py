"""What the recorder listens to: every topic of its contract, as bytes; who publishes it in another way after a silence is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState

from wm_core.data.recording_config import CAMERA, StreamConfig
from wm_ros.live_stream import LiveStream
from wm_ros.msg import DeltaEECommand, SafetyStatus

CLASSES = {
    f"{one.__module__.split('.')[0]}/msg/{one.__name__}": one
    for one in (Image, CompressedImage, JointState, PoseStamped, TwistStamped, DeltaEECommand, SafetyStatus)
}
DEPTHS = {CAMERA: 30}
DEPTH = 200
Sink = Callable[[str, str, float, float, bytes], None]
"""Called with topic, type, time of receipt and stamp (s), and the bytes."""


class Capture:
    """Subscribes to each topic as soon as somebody publishes it, so reliably as that publisher sends."""

    def __init__(
        self, node: Node, streams: tuple[StreamConfig, ...], steady: Callable[[], float], difference: float = float("inf")
    ) -> None:
        """`difference`: how far stamps may be from the node's clock, s."""
        self._node, self._steady = node, steady
        self.heard = {stream.name: LiveStream(stream, node.resolve_topic_name(stream.topic), difference) for stream in streams}
        self._subscriptions: dict[str, Subscription] = {}
        self.sink: Sink | None = None

    def look(self) -> None:
        """Find publishers of what is not heard yet, or not any more."""
        now = self._steady()
        for name, one in self.heard.items():
            if name not in self._subscriptions or one.ask_again(now):
                self._connect(name, one)

    def close(self) -> None:
        for name in list(self._subscriptions):
            self._node.destroy_subscription(self._subscriptions.pop(name))

    def begin(self) -> None:
        """Count anew."""
        for one in self.heard.values():
            one.begin()

    def complaints(self, recording: bool) -> list[str]:
        """What keeps an episode from beginning, or harms the one that is `recording`."""
        now = self._steady()
        return [text for one in self.heard.values() if (text := one.complaint(now, recording))]

    def _connect(self, name: str, one: LiveStream) -> None:
        publishers = self._node.get_publishers_info_by_topic(one.topic)
        if not publishers:
            return
        told = [(info.topic_type, info.qos_profile.reliability == ReliabilityPolicy.RELIABLE) for info in publishers]
        if one.follow(told) and name in self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop(name))
        if one.wrong or name in self._subscriptions:
            return
        reliability = ReliabilityPolicy.RELIABLE if one.reliable else ReliabilityPolicy.BEST_EFFORT
        depth = DEPTHS.get(one.config.kind, DEPTH)
        qos = QoSProfile(depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE)
        take: Any = lambda data: self._take(one, data)  # noqa: E731 raw: the bytes as they came
        self._subscriptions[name] = self._node.create_subscription(CLASSES[one.kind], one.topic, take, qos, raw=True)

    def _take(self, one: LiveStream, data: bytes) -> None:
        received = self._node.get_clock().now().nanoseconds * 1e-9
        stamp = one.hear(self._steady(), received, data)
        if self.sink is not None:
            self.sink(one.topic, one.kind, received, stamp, data)
