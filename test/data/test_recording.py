"""Protects what a row of a recording holds: the guard's motion exactly, true ages, and nothing usable where a stream was not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recordings import SIZE, START, contract, image, joint_state, joints_at, messages, picture_at, without, write_bag

from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.heard import Heard
from wm_core.data.message_types import encoded, typestore
from wm_core.data.picture import ImageError, picture
from wm_core.data.recording import Recorded, recorded
from wm_core.data.recording_config import CAMERA, COMMANDED, TYPES
from wm_core.data.recording_layout import ACTION, ASKED, GUARDED, STATE, TOLD
from wm_core.robot import rotation
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.proprioception import pose_of_row
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm

FRONT = "observation.images.front"
IMAGES = "/camera/front/image_raw"


def made(folder: Path, heard: Iterable[Heard], **changes: Any) -> Recorded:
    return recorded(Bag(write_bag(folder / "heard.mcap", heard)), contract(**changes), "wave")


def one(message: Any, kind: str, topic: str, stamp: float) -> Heard:
    return Heard(topic, TYPES[kind][0], stamp + 0.002, encoded(message, TYPES[kind][0]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return made(tmp_path_factory.mktemp("whole"), messages(4.0, jitter=0.004))


def test_actions_are_exactly_what_the_guard_sent_between_the_rows(whole: Recorded) -> None:
    rows, columns = whole.episode.stamps, whole.episode.columns
    kinematics = Kinematics(read_chain(arm.urdf(), "base_link", "tool0"))
    poses = [kinematics.tool_pose(joints_at(stamp)) for stamp in rows]
    for before, after, action in zip(poses[:-1], poses[1:], columns[ACTION][:-1], strict=True):
        assert np.linalg.norm(before[:3, 3] + action[:3] - after[:3, 3]) < 2e-4, (
            "metres: what lies between two of the guard's words is a line"
        )
        turned = rotation.matrix(action[3:6]) @ before[:3, :3]
        assert np.linalg.norm(rotation.vector(turned @ after[:3, :3].T)) < 5e-4
        assert action[6] == pytest.approx(0.25)
    way = pose_of_row(columns[STATE][-1])[:3, 3] - pose_of_row(columns[STATE][0])[:3, 3]
    assert np.allclose(columns[ACTION][:-1, :3].sum(axis=0), way, atol=1e-12), (
        "the steps add up to the way: nothing is counted twice or lost"
    )


def test_a_row_shows_the_picture_that_was_taken_at_its_time(whole: Recorded) -> None:
    episode = whole.episode
    for row, stamp in enumerate(episode.stamps):
        assert np.array_equal(episode.images[FRONT][row], picture_at(float(stamp)))
    assert episode.ages[FRONT].max() == 0.0
    assert episode.ages[STATE].max() <= 0.016
    assert all(valid.all() for name, valid in episode.valid.items())


def test_requests_and_the_guards_word_stand_beside_what_was_executed(whole: Recorded) -> None:
    assert np.allclose(whole.episode.columns[ASKED][1:], [0.01, 0.0, 0.0, 0.0, 0.0, 0.02, 0.5])
    assert np.allclose(whole.episode.columns[GUARDED], [1.0, 0.75, 1.0])
    assert np.allclose(whole.episode.columns[TOLD][:, -1], 0.25)


def test_where_the_guard_falls_silent_no_action_is_known(tmp_path: Path) -> None:
    dead = made(tmp_path, without(messages(4.0), "/safety_guard/commanded", START + 2.0))
    known, late = dead.episode.valid[ACTION], dead.episode.stamps > START + 2.2
    assert not known[late].any()
    assert known[dead.episode.stamps < START + 1.8].all()
    assert not dead.episode.valid[STATE][late].any()
    assert dead.episode.valid[FRONT].all()


def test_a_camera_that_pauses_is_marked_for_as_long(tmp_path: Path) -> None:
    heard = [one for one in messages(4.0) if one.topic != IMAGES or not START + 1.0 < one.received < START + 2.0]
    paused = made(tmp_path, heard).episode
    gap = (paused.stamps > START + 1.3) & (paused.stamps < START + 1.95)
    assert not paused.valid[FRONT][gap].any()
    assert paused.valid[FRONT][paused.stamps > START + 2.05].all()
    assert paused.ages[FRONT].max() > 0.5


def test_a_picture_of_another_size_a_stamp_that_goes_back_and_a_nan_enter_no_row(tmp_path: Path) -> None:
    heard = messages(2.0)
    poison = joint_state(START + 1.001, 0.25)
    poison.position[2] = np.nan
    heard += [
        one(image(START + 1.05, (24, 32)), CAMERA, IMAGES, START + 1.05),
        one(image(START + 0.2), CAMERA, IMAGES, START + 1.06),
        one(poison, COMMANDED, "/safety_guard/commanded", START + 1.001),
    ]
    found = made(tmp_path, sorted(heard, key=lambda each: each.received))
    told = " ".join(found.faults)
    for words in ("its size 32x24, where the first was 64x48", "not later than the one before", "not finite"):
        assert words in told
    found.episode.check()
    assert found.episode.images[FRONT].shape[1:3] == SIZE
    for row, stamp in enumerate(found.episode.stamps):
        assert np.array_equal(found.episode.images[FRONT][row], picture_at(float(stamp)))


@pytest.mark.parametrize("wrong", [-1e6, 1e6, 30.0])
@pytest.mark.parametrize("place", [0, 10, -1])
def test_one_wrong_stamp_costs_its_own_message_alone(tmp_path: Path, wrong: float, place: int) -> None:
    heard = messages(2.0)
    at = [index for index, each in enumerate(heard) if each.topic == IMAGES][place]
    plain = made(tmp_path, heard)
    stamp = heard[at].stamp
    moved = one(image(stamp), CAMERA, IMAGES, stamp)
    message = moved.message
    message.header.stamp.sec = max(int(stamp + wrong), 1)
    heard[at] = Heard(IMAGES, moved.kind, moved.received, encoded(message, moved.kind))
    if (wrong, place) == (30.0, -1):
        return  # nothing tells a last message that is late from one that is wrong; its row is marked as the others are
    (tmp_path / "moved").mkdir()
    found = made(tmp_path / "moved", heard)
    assert len(plain.episode) - 1 <= len(found.episode) <= len(plain.episode)
    assert "a stamp" in " ".join(found.faults)


def test_bytes_that_are_no_message_enter_no_row(tmp_path: Path) -> None:
    heard = messages(2.0)
    for topic in (IMAGES, "/joint_states", "/safety_guard/status"):
        at = [index for index, each in enumerate(heard) if each.topic == topic][3]
        heard[at] = Heard(topic, heard[at].kind, heard[at].received, heard[at].data[:9])
    found = made(tmp_path, heard)
    assert sum("is not the" in fault for fault in found.faults) == 3
    found.episode.check()


def test_joints_are_found_by_name_in_any_order_and_company(tmp_path: Path) -> None:
    def shuffled(heard: Heard) -> Heard:
        if heard.kind != TYPES[COMMANDED][0]:
            return heard
        message = heard.message
        order = np.random.default_rng(0).permutation(len(message.name))
        message.name = [*(message.name[index] for index in order), "somebody_elses"]
        message.position = np.array([*message.position[order], 7.0])
        return Heard(heard.topic, heard.kind, heard.received, encoded(message, heard.kind))

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, mixed = made(tmp_path / "a", messages(1.5)), made(tmp_path / "b", map(shuffled, messages(1.5)))
    for name, column in plain.episode.columns.items():
        assert np.array_equal(column, mixed.episode.columns[name]), name


def test_a_stream_that_the_contract_wants_and_nobody_sent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no topic 'camera/front/image_raw'.*/joint_states"):
        made(tmp_path, without(messages(1.0), IMAGES))


def test_a_stream_of_which_nothing_is_usable_is_named(tmp_path: Path) -> None:
    wrong = [
        h
        if h.topic != IMAGES
        else Heard(h.topic, "sensor_msgs/msg/JointState", h.received, encoded(joint_state(h.received), "sensor_msgs/msg/JointState"))
        for h in messages(1.0)
    ]
    with pytest.raises(EpisodeError, match=r"nothing usable came of front.*its type sensor_msgs/msg/JointState"):
        made(tmp_path, wrong)


@pytest.mark.parametrize(("form", "off"), [("png", 0.0), ("jpeg", 4.0)])
def test_compressed_pictures_are_recorded_as_raw_ones_are(tmp_path: Path, form: str, off: float) -> None:
    """`off` is the mean error that the form costs, of 255."""
    heard = [pressed(message, form) if message.topic == IMAGES else message for message in messages(2.0)]
    for name in ("raw", form):
        (tmp_path / name).mkdir()
    raw, read = made(tmp_path / "raw", messages(2.0)).episode, made(tmp_path / form, heard).episode
    assert np.array_equal(read.stamps, raw.stamps)
    assert read.images[FRONT].shape == raw.images[FRONT].shape
    for row in range(len(raw)):
        assert np.abs(read.images[FRONT][row].astype(float) - raw.images[FRONT][row]).mean() <= off
    for name, column in raw.columns.items():
        assert np.array_equal(read.columns[name], column), name


def test_a_compressed_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    heard = [pressed(message, "png") if message.topic == IMAGES else message for message in messages(2.0)]
    broken = [
        replace(message, data=message.data[:60] + bytes(40) + message.data[100:]) if message.topic == IMAGES else message
        for message in heard
    ]
    with pytest.raises((EpisodeError, ImageError), match="decoded"):
        made(tmp_path, broken).episode.images[FRONT][0]


def pressed(message: Heard, form: str) -> Heard:
    """The same picture as a sensor_msgs/CompressedImage of this form."""
    done, data = cv2.imencode(f".{form}", cv2.cvtColor(picture(message.message), cv2.COLOR_RGB2BGR))
    assert done
    kind = TYPES[CAMERA][1]
    return replace(message, kind=kind, data=encoded(typestore().types[kind](message.message.header, form, data), kind))
