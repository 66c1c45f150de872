"""Protects reading bags without ROS: MCAP and SQLite, files that break off, and what is said of those that hold nothing."""

from __future__ import annotations

import contextlib
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import Writer as McapWriter
from recordings import START, messages, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.heard import Heard
from wm_core.data.message_types import own, typestore

HEARD = messages(1.0)


def sqlite(path: Path) -> Path:
    """The same messages as `ros2 bag record` keeps them in SQLite."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {}
        for heard in HEARD:
            if heard.topic not in connections:
                connections[heard.topic] = writer.add_connection(heard.topic, heard.kind, typestore=typestore())
            writer.write(connections[heard.topic], round(heard.received * 1e9), heard.data)
    return path


def test_mcap_and_sqlite_hold_the_same_messages(tmp_path: Path) -> None:
    ours, theirs = list(Bag(write_bag(tmp_path / "a.mcap", HEARD)).messages()), list(Bag(sqlite(tmp_path / "b")).messages())
    assert [(h.topic, h.kind, h.data) for h in ours] == [(h.topic, h.kind, h.data) for h in HEARD]
    assert sorted((h.topic, h.data) for h in theirs) == sorted((h.topic, h.data) for h in HEARD)
    assert max(abs(a.received - b.received) for a, b in zip(ours, HEARD, strict=True)) < 1e-6
    assert ours[0].stamp == pytest.approx(START, abs=0.1)


def unchunked(path: Path) -> Path:
    """The same messages as a writer without chunks keeps them, each a record of its own."""
    with path.open("wb") as file:
        writer = McapWriter(file, use_chunking=False)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for heard in HEARD:
            if heard.topic not in channels:
                channels[heard.topic] = writer.register_channel(heard.topic, "cdr", writer.register_schema(heard.kind, "ros2msg", b""))
            stamp = round(heard.received * 1e9)
            writer.add_message(channels[heard.topic], stamp, heard.data, stamp)
        writer.finish()
    return path


def test_an_mcap_without_chunks_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = unchunked(tmp_path / "a.mcap")
    assert [h.data for h in Bag(whole).messages()] == [h.data for h in HEARD]
    (tmp_path / "cut.mcap").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    bag = Bag(tmp_path / "cut.mcap")
    found = [h.data for h in bag.messages()]
    assert 0 < len(found) < len(HEARD)
    assert found == [h.data for h in HEARD][: len(found)]
    assert "breaks off" in bag.broken


def test_a_bag_is_left_in_the_middle_and_read_again(tmp_path: Path) -> None:
    bag = Bag(write_bag(tmp_path / "a.mcap", HEARD * 30))  # several chunks
    some = bag.messages()
    assert next(some).data == HEARD[0].data
    some.close()  # type: ignore[attr-defined]
    assert sum(1 for _ in bag.messages()) == 30 * len(HEARD)
    assert not bag.broken


def test_an_mcap_in_a_directory_of_its_own_is_a_bag(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag" / "bag_0.mcap", HEARD)
    assert Bag(tmp_path / "bag").topic("joint_states") == "/joint_states"


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_that_breaks_off_is_read_up_to_there_and_says_so(tmp_path: Path, share: float) -> None:
    whole = write_bag(tmp_path / "a.mcap", HEARD * 30)  # several chunks
    data = whole.read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(share * len(data))])
    bag = Bag(tmp_path / "cut.mcap")
    found = list(bag.messages())
    assert "breaks off" in bag.broken
    assert [h.data for h in found] == [h.data for h in (HEARD * 30)[: len(found)]]


@pytest.mark.parametrize("place", [0.1, 0.3, 0.6])
def test_bytes_that_were_changed_are_not_taken_for_messages(tmp_path: Path, place: float) -> None:
    data = bytearray(write_bag(tmp_path / "a.mcap", HEARD * 30).read_bytes())
    middle = int(place * len(data))
    data[middle : middle + 64] = bytes(64)
    (tmp_path / "changed.mcap").write_bytes(data)
    bag = Bag(tmp_path / "changed.mcap")
    found = [h.data for h in bag.messages()]
    assert found == [h.data for h in HEARD * 30][: len(found)]
    assert "breaks off" in bag.broken or len(found) == 30 * len(HEARD), "what is missing is said"


def test_the_parts_of_a_split_bag_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        late = [Heard(h.topic, h.kind, h.received + number, h.data) for h in HEARD]
        write_bag(tmp_path / "bag" / f"bag_{number}.mcap", late)
    received = [h.received for h in Bag(tmp_path / "bag").messages()]
    assert received == sorted(received)
    assert len(received) == 3 * len(HEARD)


def test_a_sqlite_file_without_its_directory_is_a_bag_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    file = next(sqlite(tmp_path / "b").glob("*.db3"))
    bare = Path(shutil.copy(file, tmp_path / "bare.db3"))
    assert len(list(Bag(bare).messages())) == len(HEARD)
    bare.write_bytes(file.read_bytes()[:5000])
    bag = Bag(bare)
    assert len(list(bag.messages())) < len(HEARD)
    assert "bare.db3 breaks off" in bag.broken


def test_a_definition_that_a_bag_brings_is_what_its_messages_are_read_with(tmp_path: Path) -> None:
    kind = own("SafetyStatus")  # as another version of it may have been
    with (tmp_path / "old.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2")
        channel = writer.register_channel("/status", "cdr", writer.register_schema(kind, "ros2msg", b"int32 number"))
        writer.add_message(channel, 10**9, b"\x00\x01\x00\x00" + struct.pack("<i", 42), 10**9)
        writer.finish()
    (heard,) = Bag(tmp_path / "old.mcap").messages()
    assert heard.message.number == 42


def test_only_the_topics_that_are_asked_for_are_given_out(tmp_path: Path) -> None:
    for path in (write_bag(tmp_path / "a.mcap", HEARD), sqlite(tmp_path / "b")):
        assert {h.topic for h in Bag(path).messages(["/joint_states"])} == {"/joint_states"}
        assert not list(Bag(path).messages(["/nothing"]))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_an_error_with_its_type(data: bytes) -> None:
    with contextlib.suppress(EpisodeError):  # and no other
        Heard("/joint_states", "sensor_msgs/msg/JointState", 0.0, data).message  # noqa: B018


def test_topics_are_found_in_any_namespace_and_named_when_there_are_none(tmp_path: Path) -> None:
    bag = Bag(write_bag(tmp_path / "a.mcap", HEARD))
    assert bag.topic("/safety_guard/commanded") == "/safety_guard/commanded"
    assert bag.topic("image_raw") == "/camera/front/image_raw"
    with pytest.raises(DatasetError, match=r"no topic 'joint_state'.*nearest: /joint_states"):
        bag.topic("joint_state")


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such bag"):
        Bag(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DatasetError, match="this is no bag"):
        Bag(tmp_path / "folder")
    with pytest.raises(DatasetError, match="is empty"):
        Bag(write_bag(tmp_path / "empty.mcap", [])).require()
    (tmp_path / "garbage.mcap").write_bytes(b"not an mcap at all" * 10)
    with pytest.raises(DatasetError, match=r"is empty \(garbage.mcap breaks off"):
        Bag(tmp_path / "garbage.mcap").require()
