"""Protects reading bags without ROS: MCAP and SQLite, files that break off, and what is said of those that hold nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import START, messages, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError
from wm_core.data.message_types import typestore

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
