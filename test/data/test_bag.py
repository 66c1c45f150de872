"""Protects bags without ROS: what is put in comes out, of a broken one what is whole, and what is not a bag is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bags import START, Sent, header, image, joint_state, make, write_mcap, write_sqlite

from wm_core.data.bag import Bag, BagWriter
from wm_core.data.bag_types import types_of
from wm_core.data.errors import BagError


def sent(count: int = 20) -> list[Sent]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found: list[Sent] = []
    for index in range(count):
        when = START + 0.1 * index
        found.append(("/front", image(when, pixels), when + 0.004))
        found.append(("/joint_states", joint_state(when + 0.05, ("a", "b"), (index, -index)), when + 0.051))
    return found


@pytest.mark.parametrize("write", [write_mcap, write_sqlite])
def test_what_is_put_in_comes_out_in_order(write, tmp_path: Path) -> None:
    made = sent()
    bag = Bag(write(tmp_path / "bag", made))
    assert bag.topics == {"/front": "sensor_msgs/msg/Image", "/joint_states": "sensor_msgs/msg/JointState"}
    read = list(bag.messages())
    assert [message.topic for message in read] == [topic for topic, _, _ in made]
    np.testing.assert_allclose([message.received for message in read], [received for _, _, received in made], atol=1e-6)
    np.testing.assert_allclose([message.stamp for message in read[::2]], [START + 0.1 * index for index in range(20)], atol=1e-6)
    np.testing.assert_array_equal(read[0].content.data, made[0][1].data)
    np.testing.assert_array_equal(read[3].content.position, [1.0, -1.0])
    assert bag.broken is None
    assert {message.topic for message in bag.messages(["/front"])} == {"/front"}


def test_a_single_file_is_a_bag_too(tmp_path: Path) -> None:
    folder = write_mcap(tmp_path / "bag", sent())
    assert len(list(Bag(next(folder.glob("*.mcap"))).messages())) == 40
    (folder / "metadata.yaml").unlink()
    assert len(list(Bag(folder).messages())) == 40


def test_of_a_truncated_file_everything_before_the_break_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 320, 3), dtype=np.uint8)
    made = [("/front", image(START + index, pixels), START + index) for index in range(40)]  # several chunks
    file = next(write_mcap(tmp_path / "bag", made).glob("*.mcap"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    for path in (file, file.parent):
        bag = Bag(path)
        read = list(bag.messages())
        assert 15 <= len(read) < 40
        np.testing.assert_allclose([message.received for message in read], START + np.arange(len(read)))
        assert bag.broken is not None
        assert f"after {len(read)} messages" in bag.broken


def test_our_own_messages_are_known_and_a_definition_in_the_bag_comes_first(tmp_path: Path) -> None:
    status = make(
        "wm_ros/msg/RecorderStatus",
        header=header(START),
        state=1,
        episode=3,
        frames=5,
        streams=["a"],
        rates=np.ones(1, np.float32),
        drops=np.zeros(1, np.uint64),
        ages=np.zeros(1, np.float32),
        text="t",
    )
    message = next(Bag(write_mcap(tmp_path / "bag", [("/status", status, START)])).messages())
    assert (message.content.episode, message.content.streams) == (3, ["a"])
    other = types_of("int32 number", "wm_ros/msg/RecorderStatus")
    assert [field[0] for field in other.get_msgdef("wm_ros/msg/RecorderStatus").fields] == ["number"]


def test_what_is_not_a_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no such bag"):
        Bag(tmp_path / "none")
    with pytest.raises(BagError, match="not a bag"):
        Bag(tmp_path)
    for name, content in (("empty.mcap", b""), ("other.mcap", b"nothing of the kind" * 20), ("other.db3", b"x" * 100), ("other.txt", b"x")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BagError, match=name):
            Bag(path)
    with pytest.raises(BagError, match="empty"):
        Bag(write_mcap(tmp_path / "without", []))


def test_a_topic_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    bag = Bag(write_mcap(tmp_path / "bag", sent(2)))
    with pytest.raises(BagError, match=r"/joint_state: nearest: /joint_states"):
        bag.require(["/joint_state", "/front"])


def test_a_message_that_is_not_of_its_type_is_an_error_with_its_topic(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_bytes("/joint_states", "sensor_msgs/msg/JointState", b"\x00\x01\x00\x00\xff", START)
    with pytest.raises(BagError, match="/joint_states"):
        _ = next(Bag(tmp_path / "bag").messages()).content
