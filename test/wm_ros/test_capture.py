"""Protects what the recorder subscribes to: as reliably as publishers send, and anew when one comes back in another way after a silence."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from recordings import image
from sensor_msgs.msg import CompressedImage, Image

from wm_core.data.message_types import encoded
from wm_core.data.recording_config import CAMERA, TYPES, StreamConfig
from wm_ros.capture import CLASSES, Capture

RAW, PRESSED = TYPES[CAMERA]
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TIME = 1000.0  # s, of a clock that stands


class Graph:
    """Stands for a node: who publishes is told here, and what was subscribed to is noted."""

    def __init__(self) -> None:
        self.publishers: list[tuple[str, ReliabilityPolicy]] = []
        self.subscribed: list[tuple[type, ReliabilityPolicy, Callable[[bytes], None]]] = []
        self.ended: list[int] = []
        self.asked = 0

    def resolve_topic_name(self, topic: str) -> str:
        return f"/{topic}"

    def get_publishers_info_by_topic(self, topic: str) -> list[SimpleNamespace]:
        self.asked += 1
        return [SimpleNamespace(topic_type=kind, qos_profile=SimpleNamespace(reliability=sure)) for kind, sure in self.publishers]

    def create_subscription(self, kind: type, topic: str, take: Callable[[bytes], None], qos: QoSProfile, raw: bool) -> int:
        assert raw
        self.subscribed.append((kind, qos.reliability, take))
        return len(self.subscribed) - 1

    def destroy_subscription(self, number: int) -> None:
        self.ended.append(number)

    def get_clock(self) -> SimpleNamespace:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=round(TIME * 1e9)))


class Watched:
    """A capture of one camera, and the steady time that it is told."""

    def __init__(self) -> None:
        self.graph, self.now = Graph(), 0.0
        node: Any = self.graph
        self.capture = Capture(node, (StreamConfig("front", "front", CAMERA, 10.0, 0.25),), lambda: self.now)

    def look_for(self, seconds: float) -> None:
        for _ in range(round(seconds * 10.0)):
            self.now += 0.1
            self.capture.look()

    def send(self) -> None:
        self.graph.subscribed[-1][2](encoded(image(TIME), RAW))


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_is_subscribed_to_as_soon_as_somebody_publishes_and_once(watched: Watched) -> None:
    watched.look_for(1.0)
    assert watched.graph.subscribed == []
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(5.0)
    ((kind, reliability, _),) = watched.graph.subscribed
    assert (kind, reliability) == (Image, RELIABLE)


@pytest.mark.parametrize(("kind", "reliability", "made"), [(RAW, BEST_EFFORT, Image), (PRESSED, RELIABLE, CompressedImage)])
def test_one_that_comes_back_in_another_way_is_heard_again(watched: Watched, kind: str, reliability: ReliabilityPolicy, made: type) -> None:
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    watched.send()
    watched.graph.publishers = [(kind, reliability)]
    watched.look_for(0.2)
    assert len(watched.graph.subscribed) == 1, "not while it is heard"
    watched.look_for(1.5)
    assert watched.graph.subscribed[-1][:2] == (made, reliability)
    assert (len(watched.graph.subscribed), watched.graph.ended) == (2, [0])


def test_a_silent_stream_costs_one_question_a_second(watched: Watched) -> None:
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    watched.graph.publishers = []
    watched.graph.asked = 0
    watched.look_for(20.0)
    assert 18 <= watched.graph.asked <= 21
    assert (len(watched.graph.subscribed), watched.graph.ended) == (1, []), "who comes back as it was is still awaited"


def test_a_wrong_type_ends_the_subscription_and_is_named_until_it_is_right(watched: Watched) -> None:
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    watched.graph.publishers = [("std_msgs/msg/String", RELIABLE)]
    watched.look_for(1.5)
    assert watched.graph.ended == [0]
    assert "/front is a std_msgs/msg/String" in watched.capture.complaints(recording=False)[0]
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    assert len(watched.graph.subscribed) == 2


def test_what_was_closed_is_subscribed_to_again(watched: Watched) -> None:
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    watched.capture.close()
    watched.look_for(0.1)
    assert (len(watched.graph.subscribed), watched.graph.ended) == (2, [0])


def test_what_comes_reaches_the_sink_with_its_type_and_times(watched: Watched) -> None:
    came: list[tuple[object, ...]] = []
    watched.capture.sink = lambda *told: came.append(told)
    watched.graph.publishers = [(RAW, RELIABLE)]
    watched.look_for(0.1)
    watched.send()
    ((topic, kind, received, stamp, data),) = came
    assert (topic, kind, data) == ("/front", RAW, encoded(image(TIME), RAW))
    assert (received, stamp) == pytest.approx((TIME, TIME))


def test_every_type_of_a_contract_can_be_listened_to() -> None:
    assert {one for kinds in TYPES.values() for one in kinds} == set(CLASSES)
