"""What the recorder listens to: every topic of its contract, as bytes, with how often it comes, how old it is and what was lost."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState

from wm_core.data.recording_config import CAMERA, TYPES, StreamConfig
from wm_ros.diagnostics import Stream
from wm_ros.msg import DeltaEECommand, SafetyStatus

CLASSES = {
    f"{one.__module__.split('.')[0]}/msg/{one.__name__}": one
    for one in (Image, CompressedImage, JointState, PoseStamped, TwistStamped, DeltaEECommand, SafetyStatus)
}
DEPTHS = {CAMERA: 30}
DEPTH = 200
LOST = 1.5  # periods between two stamps, from which on messages are missing between them
SLOW = 0.5  # share of the expected rate below which a stream is as good as missing
Sink = Callable[[str, str, float, float, bytes], None]
"""Called with topic, type, time of receipt and stamp (s), and the bytes."""


@dataclass
class Heard:
    """What is known of one stream."""

    config: StreamConfig
    topic: str
    kind: str = ""
    wrong: str = ""  # a type that is none of those allowed
    subscription: Subscription | None = None
    arrivals: Stream = field(default_factory=Stream)
    stamp: float = 0.0
    drops: int = 0
    backwards: int = 0
    latest: bytes = b""

    def complaint(self, now: float) -> str:
        """Why the stream cannot be recorded at `now` (s, steady); empty: it can."""
        expected, age, rate = self.config.rate, self.arrivals.age(now), self.arrivals.rate(now)
        if self.wrong:
            return f"{self.topic} is a {self.wrong}, not a {' or '.join(TYPES[self.config.kind])}"
        if not expected:
            return ""
        if age == float("inf"):
            return f"{self.topic} is silent{'' if self.kind else ' (nobody publishes it)'}"
        if age > max(self.config.age, 2.0 / expected):
            return f"{self.topic} has been silent for {age:.2f} s"
        if rate < SLOW * expected:
            return f"{self.topic} comes at {rate:.1f} Hz, not {expected:g}"
        return ""


class Capture:
    """Subscribes to each topic as soon as somebody publishes it, so reliably as that publisher sends."""

    def __init__(self, node: Node, streams: tuple[StreamConfig, ...], steady: Callable[[], float]) -> None:
        self._node, self._steady = node, steady
        self.heard = {stream.name: Heard(stream, node.resolve_topic_name(stream.topic)) for stream in streams}
        self.sink: Sink | None = None

    def look(self) -> None:
        """Find publishers of what is not heard yet."""
        for one in self.heard.values():
            if one.subscription is None:
                self._connect(one)

    def close(self) -> None:
        for one in self.heard.values():
            if one.subscription is not None:
                self._node.destroy_subscription(one.subscription)
                one.subscription = None

    def begin(self) -> None:
        """Count anew."""
        for one in self.heard.values():
            one.drops = one.backwards = 0
            one.stamp = 0.0

    def complaints(self) -> list[str]:
        """What keeps an episode from beginning."""
        now = self._steady()
        return [text for one in self.heard.values() if (text := one.complaint(now))]

    def _connect(self, one: Heard) -> None:
        publishers = self._node.get_publishers_info_by_topic(one.topic)
        if not publishers:
            return
        kinds = [info.topic_type for info in publishers]
        one.wrong = "" if kinds[0] in TYPES[one.config.kind] else kinds[0]
        if one.wrong:
            return
        one.kind = kinds[0]
        every = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
        reliability = ReliabilityPolicy.RELIABLE if every else ReliabilityPolicy.BEST_EFFORT
        depth = DEPTHS.get(one.config.kind, DEPTH)
        qos = QoSProfile(depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE)
        take: Any = lambda data, one=one: self._take(one, data)  # noqa: E731 raw: the bytes as they came
        one.subscription = self._node.create_subscription(CLASSES[one.kind], one.topic, take, qos, raw=True)

    def _take(self, one: Heard, data: bytes) -> None:
        one.arrivals.arrived(self._steady())
        one.latest = data
        received = self._node.get_clock().now().nanoseconds * 1e-9
        seconds, nanoseconds = struct.unpack_from("<iI", data, 4)  # behind the four bytes of CDR, every message begins with its header
        stamp = seconds + 1e-9 * nanoseconds
        if one.stamp and one.config.rate:
            gap = (stamp - one.stamp) * one.config.rate
            one.drops += round(gap) - 1 if gap > LOST else 0
            one.backwards += gap <= 0.0
        one.stamp = stamp
        if self.sink is not None:
            self.sink(one.topic, one.kind, received, stamp, data)
