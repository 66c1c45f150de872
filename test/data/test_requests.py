"""Protects recordings without a guard, and what was asked of the arm: in the base's axes, an opening only where one was asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import START, contract, header, image, joint_state, messages, request, write_bag

from wm_core.data import requests
from wm_core.data.bag import Bag
from wm_core.data.heard import Heard
from wm_core.data.message_types import encoded, typestore
from wm_core.data.recording import Recorded, recorded
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, JOINTS, REQUESTED, TOOL_POSE, TYPES, StreamConfig
from wm_core.data.recording_layout import ACTION, ASKED, STATE, TOLD
from wm_core.data.track import Track
from wm_core.errors import ConfigurationError
from wm_core.robot import rotation
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import ACTION_NAMES, TOOL_NAMES, pose_of_row
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm

KINEMATICS = Kinematics(read_chain(arm.urdf(), "base_link", "tool0"))
BENT = np.add(arm.HOME, [0.4, 0.1, -0.2, 0.3, 0.2, -0.5])
DELTA = TYPES[REQUESTED][0]
TWIST = TYPES[REQUESTED][1]
SPEED, TURN = np.array([0.1, -0.05, 0.02]), np.array([0.0, 0.3, -0.2])


def heard(topic: str, kind: str, message: Any, stamp: float) -> Heard:
    return Heard(topic, kind, stamp + 0.002, encoded(message, kind))


def still(seconds: float = 2.0) -> list[Heard]:
    """A camera and an arm that rests at BENT, with an opening of 0.25, as its guard and its joints tell."""
    said = [one for one in messages(seconds) if one.kind == TYPES[GUARD][0] or "camera" in one.topic]
    for tick in range(round(seconds * 50)):
        stamp = START + tick / 50
        said.append(heard("/joint_states", TYPES[JOINTS][0], joint_state(stamp, joints=BENT), stamp))
        said.append(heard("/safety_guard/commanded", TYPES[COMMANDED][0], joint_state(stamp, 0.25, BENT), stamp))
    return said


def asking(frame: str, gripper: float, stamp: float) -> Heard:
    """(1, 0, 0) cm and 0.02 rad about z within 0.1 s."""
    message = request(stamp)
    message.header.frame_id, message.gripper = frame, gripper
    return heard("/delta_command", DELTA, message, stamp)


def servo(stamp: float, speed: np.ndarray = SPEED, turn: np.ndarray = TURN, frame: str = "base_link") -> Heard:
    types = typestore().types
    vector = types["geometry_msgs/msg/Vector3"]
    twist = types["geometry_msgs/msg/Twist"](vector(*speed), vector(*turn))
    return heard("/delta_twist_cmds", TWIST, types[TWIST](header(stamp, frame), twist), stamp)


def standard(*extra: StreamConfig) -> tuple[StreamConfig, ...]:
    """A camera and joint states, as any robot has them."""
    return (
        StreamConfig("front", "camera/front/image_raw", CAMERA, 10.0, 0.25),
        StreamConfig("joint_states", "joint_states", JOINTS, 50.0, 0.05),
        *extra,
    )


def made(folder: Path, said: list[Heard], **changes: Any) -> Recorded:
    said = sorted(said, key=lambda one: one.received)
    return recorded(Bag(write_bag(folder / "heard.mcap", said)), contract(**changes), "wave")


def test_what_was_asked_in_the_tools_axes_is_kept_in_the_bases(tmp_path: Path) -> None:
    said = [asking("tool0", 0.5, START + 0.1 * row) for row in range(20)]
    found = made(tmp_path, still() + said)
    turn = KINEMATICS.tool_pose(BENT)[:3, :3]
    assert np.linalg.norm(turn - np.eye(3)) > 1.0
    assert np.allclose(found.episode.columns[ASKED][:, :3], turn @ [0.01, 0.0, 0.0], atol=1e-9)
    assert np.allclose(found.episode.columns[ASKED][:, 3:6], turn @ [0.0, 0.0, 0.02], atol=1e-9)
    assert not found.faults


def test_in_the_tools_axes_nothing_is_taken_while_the_tool_is_not_known_and_other_frames_are_refused(tmp_path: Path) -> None:
    silent = [one for one in still() if one.topic != "/safety_guard/commanded" or one.received < START + 0.5]
    said = [asking("tool0", 0.5, START + 0.1 * row) for row in range(20)]
    found = made(tmp_path, silent + said)
    assert "requested: 14 refused for axes of the tool, whose pose was not known then" in found.faults
    late = found.episode.stamps > START + 0.58 + 0.5
    assert late.any()
    assert not found.episode.valid[ASKED][late].any()
    (tmp_path / "other").mkdir()
    other = made(tmp_path / "other", still() + [asking("world", 0.5, START + 0.1 * row) for row in range(20)])
    assert "requested: 20 refused for its frame 'world', which is neither base_link nor tool0" in other.faults
    assert not other.episode.valid[ASKED].any()


def test_an_opening_that_is_to_be_kept_is_the_one_that_was_told(tmp_path: Path) -> None:
    said = [asking("base_link", 0.5 if row < 5 else -1.0, START + 0.1 * row) for row in range(20)]
    found = made(tmp_path, still() + said).episode
    assert np.allclose(found.columns[ASKED][:5, 6], 0.5)
    assert np.allclose(found.columns[ASKED][5:, 6], 0.25)


def test_without_a_guard_the_state_is_what_the_joints_were(tmp_path: Path) -> None:
    said = [one for one in messages(2.0) if one.topic in ("/camera/front/image_raw", "/joint_states")]
    found = made(tmp_path, said, streams=standard())
    assert found.layout.columns == {STATE: arm.JOINTS}
    for stamp, row in zip(found.episode.stamps, found.episode.columns[STATE], strict=True):
        assert np.allclose(row, np.array(arm.HOME) + 0.1 * np.sin(0.7 * (stamp - START) + np.arange(6)), atol=1e-9)
    assert found.episode.valid[STATE].all()
    assert found.episode.ages[STATE].max() <= 0.01 + 1e-6


def test_without_a_guard_a_dead_joint_stream_is_no_state(tmp_path: Path) -> None:
    said = [one for one in messages(2.0) if one.topic == "/camera/front/image_raw"]
    said += [one for one in messages(1.0) if one.topic == "/joint_states"]
    found = made(tmp_path, said, streams=standard()).episode
    assert np.array_equal(found.valid[STATE], found.stamps < START + 1.04)


def test_velocities_for_servo_add_up_to_the_way_of_each_row(tmp_path: Path) -> None:
    """At 40 Hz, twice as fast from the middle of a row on, and silent at the end."""
    said = [servo(START + tick / 40, SPEED * (1 + (tick >= 42))) for tick in range(60)]
    streams = standard(StreamConfig("servo", "delta_twist_cmds", REQUESTED, 0.0, 0.1))
    found = made(tmp_path, [one for one in still() if "guard" not in one.topic] + said, streams=streams)
    action, valid = found.episode.columns[ACTION], found.episode.valid[ACTION]
    assert found.layout.columns[ACTION] == ACTION_NAMES
    assert ASKED not in found.episode.columns
    assert np.allclose(action[:10, :3], 0.1 * SPEED, atol=1e-6)
    assert np.allclose(action[10, :3], 0.15 * SPEED, atol=1e-6)
    assert np.allclose(action[11:15, :3], 0.2 * SPEED, atol=1e-6)
    assert np.allclose(action[:15, 3:6], 0.1 * TURN, atol=1e-6)
    assert np.allclose(action[:, 6], 1.0), "an opening that nobody ever asked for"
    assert valid[:15].all()
    assert not valid[16:].any(), "the last velocity holds no longer than its age"


def test_velocities_in_the_tools_axes_are_turned_by_the_measured_joints(tmp_path: Path) -> None:
    streams = standard(StreamConfig("servo", "delta_twist_cmds", REQUESTED, 0.0, 0.1))
    said = [servo(START + tick / 40, frame="tool0") for tick in range(80)]
    action = made(tmp_path, still() + said, streams=streams).episode.columns[ACTION]
    turn = KINEMATICS.tool_pose(BENT)[:3, :3]
    assert np.allclose(action[:, :3], 0.1 * turn @ SPEED, atol=1e-6)
    assert np.allclose(action[:, 3:6], 0.1 * turn @ TURN, atol=1e-6)


def test_a_measured_pose_of_the_tool_begins_the_state(tmp_path: Path) -> None:
    types = typestore().types
    pose = KINEMATICS.tool_pose(BENT)
    w, x, y, z = rotation.quaternion(pose[:3, :3])
    pose_type = TYPES[TOOL_POSE][0]

    def placed(stamp: float, frame: str) -> Heard:
        place, turn = types["geometry_msgs/msg/Point"](*pose[:3, 3]), types["geometry_msgs/msg/Quaternion"](x, y, z, w)
        return heard("/tcp_pose", pose_type, types[pose_type](header(stamp, frame), types["geometry_msgs/msg/Pose"](place, turn)), stamp)

    tool = StreamConfig("tool", "tcp_pose", TOOL_POSE, 50.0, 0.05)
    said = [placed(START + tick / 50, "base_link") for tick in range(100)] + [placed(START + 0.505, "world")]
    found = made(tmp_path, still() + said, streams=standard(tool))
    assert found.layout.columns == {STATE: (*TOOL_NAMES[:6], *arm.JOINTS)}
    assert np.allclose(pose_of_row(found.episode.columns[STATE][7]), pose, atol=1e-9)
    assert np.allclose(found.episode.columns[STATE][7, 6:], BENT)
    assert "tool: 1 refused for its frame 'world', which is not base_link" in found.faults
    with pytest.raises(ConfigurationError, match="pose of the tool"):
        contract(streams=(*contract().config.streams, tool))


def test_a_camera_that_changes_its_encoding_is_named(tmp_path: Path) -> None:
    said = still()
    at = [index for index, one in enumerate(said) if "camera" in one.topic][7]
    stamp = said[at].stamp
    grey = image(stamp)
    grey.encoding, grey.step, grey.data = "mono8", grey.width, grey.data[: grey.width * grey.height]
    said[at] = heard(said[at].topic, TYPES[CAMERA][0], grey, stamp)
    found = made(tmp_path, said)
    assert "front: 1 refused for its encoding mono8, where the first was rgb8" in found.faults
    assert found.episode.ages["observation.images.front"].max() == pytest.approx(0.1, abs=1e-6)


ROWS = np.arange(5) * 0.1


@given(st.lists(st.floats(0.0, 0.5), max_size=12, unique=True), st.floats(0.001, 0.3), st.floats(-1.0, 1.0))
def test_no_way_is_lost_between_rows_or_counted_twice(stamps: list[float], meant: float, speed: float) -> None:
    track = Track()
    for stamp in sorted(stamps):
        track.take(stamp, np.array([speed, 0.0, 0.0, 0.0, 0.0, speed, 0.5, meant, 0.0]))
    moved, known = requests.motion(track, ROWS, 0.5, 1.0)
    spent = sum(min(after - stamp, meant) for stamp, after in pairwise([*track.stamps, 0.5]))
    assert moved[:, 0].sum() == pytest.approx(speed * spent, abs=1e-9)
    assert moved[:, 5].sum() == pytest.approx(speed * spent, abs=1e-9)
    if not track.stamps:
        assert not known.any()


@pytest.mark.parametrize("streams", [standard(), contract().config.streams])
def test_the_layout_is_that_of_the_rows(tmp_path: Path, streams: tuple[StreamConfig, ...]) -> None:
    found = made(tmp_path, messages(1.0), streams=streams)
    assert {name: len(parts) for name, parts in found.layout.columns.items()} == {
        name: column.shape[1] for name, column in found.episode.columns.items()
    }
    assert (TOLD in found.layout.columns) == (len(streams) > 2)
