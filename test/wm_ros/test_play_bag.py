"""Protects what is played of a bag: all of known types, the description of the robot kept for who comes later, and counts by topic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from arm_recording import described
from rclpy.qos import DurabilityPolicy, QoSProfile
from recordings import messages, write_bag
from std_msgs.msg import String

from wm_core.data.bag import Bag
from wm_core.simulation import arm
from wm_ros.play_bag import play


class Ether:
    """Takes the place of a node, and keeps what is published on it by topic."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[type, QoSProfile]] = {}
        self.published: dict[str, list[bytes]] = {}

    def create_publisher(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        self.made[topic], self.published[topic] = (kind, qos), []
        return SimpleNamespace(publish=self.published[topic].append, wait_for_all_acked=lambda: True)


def test_all_is_played_and_the_description_stays_for_who_comes_later(tmp_path: Path) -> None:
    heard = messages(0.5)
    told = described(arm.urdf(), heard[0].received)
    ether: Any = Ether()
    counts = play(Bag(write_bag(tmp_path / "heard.mcap", [told, *heard])), ether, rate=1000.0, wait=False)
    assert counts == {topic: sum(one.topic == topic for one in [told, *heard]) for topic in counts}
    assert set(ether.made) == {told.topic, *(one.topic for one in heard)}
    for one in (told, *heard):
        assert one.data in ether.published[one.topic]
    kind, qos = ether.made[told.topic]
    assert kind is String
    assert qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert all(qos.durability != DurabilityPolicy.TRANSIENT_LOCAL for topic, (_, qos) in ether.made.items() if topic != told.topic)
