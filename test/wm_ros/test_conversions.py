"""Protects the way between messages and arrays: units, frames and signs survive, and a picture that is not one is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sensor_msgs.msg import CompressedImage, Image, JointState

from wm_core.data.picture import CHANNELS
from wm_core.errors import WmError
from wm_core.robot import rotation
from wm_core.robot.command import DeltaCommand
from wm_ros import conversions, images

FINITE = st.floats(-1e6, 1e6)
VECTOR = arrays(np.float64, 3, elements=FINITE)
STAMP = Time(sec=5, nanosec=7)


@given(st.integers(0, 2**31 - 2), st.integers(0, 999_999_999))
def test_times_survive_to_the_microsecond(sec: int, nanosec: int) -> None:
    seconds = conversions.seconds(Time(sec=sec, nanosec=nanosec))
    back = conversions.time_message(seconds)
    assert abs((back.sec - sec) * 10**9 + back.nanosec - nanosec) < 1000
    assert 0 <= back.nanosec < 10**9


@given(VECTOR, VECTOR, st.floats(0, 1, width=32), st.floats(0.001, 1.0), st.integers(0, 2**32 - 1))
def test_a_delta_command_survives_the_message(translation: np.ndarray, turn: np.ndarray, gripper: float, step: float, index: int) -> None:
    command = DeltaCommand("tool0", translation, turn, gripper, step, 1000.25, 1000.5, 3.0, "plan", index)
    back = conversions.delta_command(conversions.delta_message(command), received=3.0)
    np.testing.assert_array_equal(back.translation, translation)
    np.testing.assert_array_equal(back.rotation, turn)
    assert (back.frame, back.gripper, back.plan_id, back.step_index) == ("tool0", gripper, "plan", index)
    assert back.step == pytest.approx(step, abs=1e-9)
    assert (back.stamp, back.valid_until) == (1000.25, 1000.5)


def test_garbage_in_a_message_reaches_the_guard_unchanged() -> None:
    message = conversions.delta_message(DeltaCommand("map", np.array([math.nan, math.inf, 1e308]), np.zeros(3), 0.0, 0.1, 0, 0, 0, "", 0))
    back = conversions.delta_command(message, 0.0)
    assert math.isnan(back.translation[0])
    assert math.isinf(back.translation[1])
    assert back.translation[2] == 1e308


@given(arrays(np.float64, 3, elements=st.floats(-3.0, 3.0)), VECTOR)
def test_a_pose_survives_transform_and_pose_messages(turn: np.ndarray, position: np.ndarray) -> None:
    pose = rotation.pose(position, rotation.matrix(turn))
    sent = conversions.transform_message("base_link", "tool0", pose, STAMP)
    message = PoseStamped()
    message.header.frame_id = "base_link"
    message.pose.position.x, message.pose.position.y, message.pose.position.z = position.tolist()
    message.pose.orientation = sent.transform.rotation
    np.testing.assert_allclose(conversions.pose_from_message(message, "base_link"), pose, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_a_pose_survives_its_message(seed: int) -> None:
    draw = np.random.default_rng(seed)
    pose = rotation.pose(draw.uniform(-1.0, 1.0, 3), rotation.matrix(draw.uniform(-1.5, 1.5, 3)))
    message = conversions.pose_message(pose, "base_link", conversions.time_message(12.5))
    assert conversions.seconds(message.header.stamp) == 12.5
    np.testing.assert_allclose(conversions.pose_from_message(message, "base_link"), pose, atol=1e-12)


def test_a_pose_in_another_frame_or_without_rotation_is_refused() -> None:
    message = PoseStamped()
    message.header.frame_id = "map"
    with pytest.raises(WmError, match=r"map.*base_link"):
        conversions.pose_from_message(message, "base_link")
    message.header.frame_id = "base_link"
    message.pose.orientation.w = 0.0
    with pytest.raises(WmError, match="length 1"):
        conversions.pose_from_message(message, "base_link")


def test_joints_are_found_by_name_in_any_order_and_company() -> None:
    names = ("a", "b", "c")
    state = JointState(name=["c", "finger", "a", "b"], position=[3.0, 9.0, 1.0, 2.0])
    assert conversions.joint_positions(state, names).tolist() == [1.0, 2.0, 3.0]
    for bad in (JointState(name=["a", "b"], position=[1.0, 2.0]), JointState(name=["a", "b", "c"], position=[1.0])):
        with pytest.raises(WmError, match="a, b, c"):
            conversions.joint_positions(bad, names)
    with pytest.raises(WmError, match="finite"):
        conversions.joint_positions(JointState(name=["a", "b", "c"], position=[1.0, math.nan, 2.0]), names)


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_a_picture_survives_the_raw_message(picture: np.ndarray) -> None:
    message = images.image_message(picture, "camera", STAMP)
    np.testing.assert_array_equal(images.picture(message), picture)


def test_every_encoding_gives_red_as_red_and_padding_is_skipped() -> None:
    red = {"rgb8": [255, 0, 0], "bgr8": [0, 0, 255], "rgba8": [255, 0, 0, 255], "bgra8": [0, 0, 255, 255]}
    assert set(red) | {"mono8"} == set(CHANNELS)
    for encoding, pixel in red.items():
        row = pixel * 2 + [77, 77]
        message = Image(height=2, width=2, encoding=encoding, step=len(row), data=row * 2)
        assert images.picture(message).tolist() == [[[255, 0, 0]] * 2] * 2, encoding
    grey = Image(height=1, width=2, encoding="mono8", step=2, data=[10, 200])
    assert images.picture(grey).tolist() == [[[10, 10, 10], [200, 200, 200]]]


@pytest.mark.parametrize(
    "message",
    [
        Image(),
        Image(height=2, width=2, encoding="rgb8", step=6, data=[0] * 11),
        Image(height=2, width=2, encoding="rgb8", step=5, data=[0] * 10),
        Image(height=2, width=2, encoding="32FC1", step=8, data=[0] * 16),
    ],
)
def test_an_image_that_is_none_is_refused(message: Image) -> None:
    with pytest.raises(images.ImageError, match="allowed"):
        images.picture(message)


def test_what_is_bright_in_a_grey_picture_is_a_mask() -> None:
    grey = Image(height=2, width=2, encoding="mono8", step=3, data=[0, 127, 9, 128, 255, 9])
    shown = images.mask(grey)
    assert shown is not None
    assert shown.tolist() == [[False, False], [True, True]]
    assert images.mask(Image()) is None
    with pytest.raises(images.ImageError, match="mono8"):
        images.mask(Image(height=1, width=1, encoding="rgb8", step=3, data=[0, 0, 0]))
    with pytest.raises(images.ImageError, match="empty"):
        images.mask(Image(height=2, width=2, encoding="mono8", step=2))


def test_compressed_pictures_come_back_nearly_and_garbage_is_refused() -> None:
    picture = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    back = images.compressed_picture(images.compressed_message(picture, "camera", STAMP))
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).mean() < 3.0
    for data in (b"", b"not a picture"):
        with pytest.raises(images.ImageError, match="cannot be decoded"):
            images.compressed_picture(CompressedImage(format="jpeg", data=data))
