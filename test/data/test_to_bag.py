"""Protects an episode's way into a bag and back: the same rows, as old and as valid as they were, and no half of a bag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import LABELS, START, contract, header, image, messages, write_bag
from rosbags.typesys import TypesysError

from wm_core.data.bag import Bag
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.export import from_bag
from wm_core.data.heard import Heard
from wm_core.data.lerobot_writer import AGE, STAMP, VALID
from wm_core.data.message_types import encoded, typestore
from wm_core.data.reader import DatasetReader
from wm_core.data.recording import recorded
from wm_core.data.recording_config import CAMERA, JOINTS, REQUESTED, TOOL_POSE, TYPES, Contract, StreamConfig
from wm_core.data.recording_layout import ACTION, ASKED, GUARDED, STATE, TOLD
from wm_core.data.to_bag import BagWriter, to_bag

FRONT, SIDE = "observation.images.front", "observation.images.side"
DEAD = {
    "/joint_states": (1.0, 1.7),
    "/safety_guard/commanded": (2.2, 2.9),
    "/camera/front/image_raw": (3.1, 3.8),
    "/delta_command": (0.0, 0.6),
    "/safety_guard/status": (4.0, 9.0),
}


@dataclass
class Way:
    """Rows as they were recorded and read, and as they came back from a bag."""

    columns: dict[str, Any]
    pictures: dict[str, Any]
    names: list[str]
    back: Episode

    def marks(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        place = self.names.index(key)
        return self.columns[AGE][:, place], self.columns[VALID][:, place] > 0.5


def there_and_back(folder: Path, heard: list[Heard], agreed: Contract) -> Way:
    heard = sorted(heard, key=lambda one: one.received)
    from_bag(write_bag(folder / "heard.mcap", heard), agreed, LABELS, folder / "set", lambda line: None)
    to_bag(folder / "set", 0, agreed, folder / "back.mcap")
    found = recorded(Bag(folder / "back.mcap"), agreed, "wave")
    assert not found.faults
    cameras = {stream.name: f"observation.images.{stream.name}" for stream in agreed.config.cameras}
    reader = DatasetReader(folder / "set", DatasetConfig("set", 10.0, cameras, None, (*found.layout.columns, STAMP, AGE, VALID)))
    rows = np.arange(int(reader.metadata.length[0]))
    pictures = {key: reader.frames(0, rows, role).transpose(0, 2, 3, 1) for role, key in cameras.items()}
    return Way(reader.columns(0), pictures, reader.metadata.features[AGE]["names"], found.episode)


def two_cameras() -> Contract:
    """The second one takes its pictures a little later than the first."""
    agreed = contract()
    side = StreamConfig("side", "camera/side/image_raw", CAMERA, 10.0, 0.25)
    return replace(agreed, config=replace(agreed.config, streams=(*agreed.config.streams, side)))


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Every stream dies for a while, the last one for good."""
    heard = [one for one in messages(5.0, jitter=0.004) if not _dead(one)]
    for number in range(50):
        stamp = START + 0.1 * number + 0.013
        heard.append(Heard("/camera/side/image_raw", TYPES[CAMERA][0], stamp, encoded(image(stamp), TYPES[CAMERA][0])))
    return there_and_back(tmp_path_factory.mktemp("way"), heard, two_cameras())


def _dead(one: Heard) -> bool:
    begin, end = DEAD[one.topic]
    return begin <= one.stamp - START < end


def test_all_rows_come_back_at_their_times(way: Way) -> None:
    assert np.allclose(way.back.stamps, way.columns[STAMP][:, 0], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("key", [FRONT, SIDE, STATE, TOLD, ACTION, ASKED, GUARDED])
def test_what_was_dead_is_dead_and_what_was_valid_is_valid(way: Way, key: str) -> None:
    _, valid = way.marks(key)
    assert np.array_equal(way.back.valid[key], valid)
    assert 0 < valid.sum() < len(valid) or key == SIDE


@pytest.mark.parametrize("key", [FRONT, SIDE, STATE, ASKED, GUARDED])
def test_it_is_as_old_as_it_was(way: Way, key: str) -> None:
    ages, valid = way.marks(key)
    assert np.allclose(way.back.ages[key][valid], ages[valid], atol=1e-5)


@pytest.mark.parametrize("key", [STATE, TOLD, ACTION, ASKED, GUARDED])
def test_its_numbers_are_what_they_were(way: Way, key: str) -> None:
    _, valid = way.marks(key)
    assert np.allclose(way.back.columns[key][valid], way.columns[key][valid], atol=2e-5)
    assert valid[-1] == (key != GUARDED), "the last row is among them"


@pytest.mark.parametrize("key", [FRONT, SIDE])
def test_its_pictures_are_those_of_the_dataset(way: Way, key: str) -> None:
    for row, picture in enumerate(way.pictures[key]):
        assert np.array_equal(way.back.images[key][row], picture)


def test_an_episode_without_a_guard_comes_back_too(tmp_path: Path) -> None:
    types = typestore().types
    vector, twist, pose = types["geometry_msgs/msg/Vector3"], TYPES[REQUESTED][1], TYPES[TOOL_POSE][0]
    streams = (
        StreamConfig("front", "camera/front/image_raw", CAMERA, 10.0, 0.25),
        StreamConfig("joint_states", "joint_states", JOINTS, 100.0, 0.05),
        StreamConfig("tool", "tcp_pose", TOOL_POSE, 50.0, 0.05),
        StreamConfig("servo", "delta_twist_cmds", REQUESTED, 0.0, 0.1),
    )
    heard = [one for one in messages(3.0, jitter=0.002) if one.topic in ("/camera/front/image_raw", "/joint_states")]
    for tick in range(150):
        stamp = START + tick / 50
        place, turn = types["geometry_msgs/msg/Point"](0.3, 0.01 * tick, 0.4), types["geometry_msgs/msg/Quaternion"](1.0, 0.0, 0.0, 0.0)
        said = types[pose](header(stamp), types["geometry_msgs/msg/Pose"](place, turn))
        heard.append(Heard("/tcp_pose", pose, stamp, encoded(said, pose)))
        if not 40 < tick < 90:
            speed = types["geometry_msgs/msg/Twist"](vector(0.001 * tick, 0.0, 0.1), vector(0.0, 0.2, 0.002 * tick))
            heard.append(Heard("/delta_twist_cmds", twist, stamp, encoded(types[twist](header(stamp), speed), twist)))
    way = there_and_back(tmp_path, heard, contract(streams=streams))
    assert np.allclose(way.back.stamps, way.columns[STAMP][:, 0], rtol=0.0, atol=1e-6)
    for key in (STATE, ACTION):
        _, valid = way.marks(key)
        assert np.array_equal(way.back.valid[key], valid)
        assert np.allclose(way.back.columns[key][valid], way.columns[key][valid], atol=1e-6)
    assert 5 < way.marks(ACTION)[1].sum() < len(way.back) - 5


def test_a_last_row_that_is_due_after_its_picture_comes_back(tmp_path: Path) -> None:
    """The camera's last pictures come late; that of the last row was taken before the row is due, and one more came after."""
    heard = [one for one in messages(1.0) if "camera" not in one.topic]
    for number in range(10):
        stamp = START + 0.1 * number + (0.04 if number > 7 else 0.0)
        heard.append(Heard("/camera/front/image_raw", TYPES[CAMERA][0], stamp, encoded(image(stamp), TYPES[CAMERA][0])))
    way = there_and_back(tmp_path, heard, contract())
    assert len(way.back) == len(way.columns[STAMP]) == 10
    ages, valid = way.marks(FRONT)
    assert way.columns[STAMP][-1, 0] < START + 0.89
    assert np.array_equal(way.back.valid[FRONT], valid)
    assert np.allclose(way.back.ages[FRONT], ages, atol=1e-5)


def test_what_a_dataset_does_not_tell_is_not_said(tmp_path: Path) -> None:
    """A set without a guard, asked for by a contract with one, and with a pose that was never measured."""
    heard = [one for one in messages(0.5) if one.topic in ("/camera/front/image_raw", "/joint_states")]
    front, joints = contract().config.streams[:2]
    from_bag(write_bag(tmp_path / "heard.mcap", heard), contract(streams=(front, joints)), LABELS, tmp_path / "set", lambda line: None)
    tool = StreamConfig("tool", "tcp_pose", TOOL_POSE, 50.0, 0.05)
    for number, streams in enumerate((contract().config.streams, (front, joints, tool))):
        to_bag(tmp_path / "set", 0, contract(streams=streams), tmp_path / f"{number}.mcap")
        assert sorted(Bag(tmp_path / f"{number}.mcap").topics) == ["/camera/front/image_raw", "/joint_states"]


def test_nothing_stays_of_a_bag_that_could_not_be_completed(tmp_path: Path) -> None:
    good = messages(0.2)[0]
    other = replace(good, topic="/other", kind="none/msg/None")
    writer = BagWriter(tmp_path / "half.mcap")
    with pytest.raises(TypesysError), writer:
        writer.write(other, other.received)
    assert not list(tmp_path.iterdir())
    with BagWriter(tmp_path / "whole.mcap") as writer:
        writer.write(good, good.received)
        assert not (tmp_path / "whole.mcap").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mcap"]


def test_an_episode_whose_video_is_damaged_leaves_no_bag(tmp_path: Path) -> None:
    from_bag(write_bag(tmp_path / "heard.mcap", messages(1.0)), contract(), LABELS, tmp_path / "set", lambda line: None)
    (video,) = (tmp_path / "set" / "videos").glob("**/*.mp4")
    video.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(DatasetError):
        to_bag(tmp_path / "set", 0, contract(), tmp_path / "back.mcap")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heard.mcap", "set"]


def test_another_robot_is_refused(tmp_path: Path) -> None:
    from_bag(write_bag(tmp_path / "heard.mcap", messages(0.5)), contract(), LABELS, tmp_path / "set", lambda line: None)
    other = replace(contract(), urdf=contract().urdf.replace("wrist_3", "wrist_9"))
    with pytest.raises(DatasetError, match=r"not the one that was recorded.*--urdf"):
        to_bag(tmp_path / "set", 0, other, tmp_path / "back.mcap")
