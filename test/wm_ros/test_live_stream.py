"""Protects the judgement of what comes while it comes: silence, stamps of another time, pictures that change; what is in order passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import image, joint_state, request

from wm_core.data.message_types import encoded, typestore
from wm_core.data.recording_config import CAMERA, JOINTS, REQUESTED, TYPES, StreamConfig
from wm_ros.live_stream import AGAIN, WINDOW, LiveStream, stamp_of

CLOCK, RATE, ALLOWED = 5000.0, 20.0, 0.5  # the clock is so far ahead of the steady one (s); Hz; s


def joints(rate: float = RATE) -> LiveStream:
    return LiveStream(StreamConfig("joints", "joints", JOINTS, rate, 0.25), "/joints", ALLOWED, kind=TYPES[JOINTS][0])


def camera() -> LiveStream:
    return LiveStream(StreamConfig("front", "front", CAMERA, RATE, 0.25), "/front", ALLOWED, kind=TYPES[CAMERA][0])


def state(stamp: float) -> bytes:
    return encoded(joint_state(stamp), TYPES[JOINTS][0])


def picture(stamp: float, size: tuple[int, int] = (4, 6), **changes: Any) -> bytes:
    return encoded(replace(image(stamp, (size[0], size[1] + 8)), **changes), TYPES[CAMERA][0])


def hear(stream: LiveStream, seconds: float, data: Callable[[float], bytes], begun: float = 0.0, delay: float = 0.001) -> float:
    """Messages at RATE, made by `data` from the clock's time; returns when the last came (s, steady)."""
    now = begun
    for number in range(round(seconds * RATE)):
        now = begun + number / RATE
        stream.hear(now + delay, CLOCK + now + delay, data(CLOCK + now))
    return now + delay


def told_within(stream: LiveStream, data: Callable[[float], bytes], begun: float, words: str, within: float) -> None:
    """The complaint comes within that time, and stays."""
    for number in range(round(2.0 * WINDOW * RATE)):
        now = begun + number / RATE
        stream.hear(now, CLOCK + now, data(CLOCK + now))
        if number / RATE > within:
            assert words in stream.complaint(now), f"after {number / RATE} s: {stream.complaint(now)!r}"
            assert stream.complaint(now).startswith("/")


@given(delays=st.lists(st.floats(0.0, 0.02), min_size=60, max_size=60), lag=st.floats(-0.4, 0.4))
def test_a_stream_whose_stamps_grow_near_the_clock_passes(delays: list[float], lag: float) -> None:
    stream = joints()
    for number, delay in enumerate(delays):
        now = number / RATE
        stream.hear(now + delay, CLOCK + now + delay, state(CLOCK + now - lag))
        if number > 2:
            assert stream.complaint(now + delay) == ""
    assert (stream.drops, stream.backwards) == (0, 0)


def test_silence_and_slowness_are_told() -> None:
    stream = joints()
    assert stream.complaint(0.0) == "/joints is silent"
    last = hear(stream, 3.0, state)
    assert stream.complaint(last + 0.2) == ""
    assert "has been silent for 0.30 s" in stream.complaint(last + 0.3)
    slow = joints(3.0 * RATE)
    assert "comes at 20.0 Hz, not 60" in slow.complaint(hear(slow, 3.0, state))


@pytest.mark.parametrize(("away", "words"), [(-3.0, "3.0 s behind"), (3.0, "3.0 s ahead of"), (-4000.0, "4000.0 s behind")])
def test_stamps_of_another_clock_are_told(away: float, words: str) -> None:
    stream = joints()
    complaint = stream.complaint(hear(stream, 1.0, lambda time: state(time + away)))
    assert words in complaint
    assert "allowed: 0.5 s (clock_difference)" in complaint
    assert "/joints has stamps" in complaint


def test_one_that_is_late_now_and_then_is_of_the_same_clock() -> None:
    stream = joints()
    last = hear(stream, 1.0, state)
    stream.hear(last + 0.1, CLOCK + last + 0.9, state(CLOCK + last + 0.1))
    assert stream.complaint(last + 0.1) == ""


def test_a_stream_without_a_rate_has_the_same_clock_too_while_it_comes() -> None:
    config = StreamConfig("asked", "asked", REQUESTED, 0.0, 0.5)
    stream = LiveStream(config, "/asked", ALLOWED, kind=TYPES[REQUESTED][0])
    assert stream.complaint(0.0) == ""
    last = hear(stream, 1.0, lambda time: encoded(request(time - 9.0), TYPES[REQUESTED][0]))
    assert "9.0 s behind" in stream.complaint(last)
    assert stream.complaint(last + WINDOW + 0.1) == ""


def test_stamps_that_stand_still_are_told() -> None:
    stream = joints()
    last = hear(stream, 3.0, state)
    told_within(stream, lambda time: state(CLOCK + last), last + 0.05, "stand still", within=0.35)


def test_stamps_that_go_back_are_told() -> None:
    stream = joints()
    last = hear(stream, 3.0, state)
    told_within(stream, lambda time: state(2.0 * (CLOCK + last) - time), last + 0.05, "go back", within=0.35)


def test_a_clock_that_was_set_back_is_taken_as_it_is_after_a_while() -> None:
    stream = joints()
    stream.difference = 10.0
    last = hear(stream, 3.0, state)
    now = hear(stream, 1.0, lambda time: state(time - 5.0), last + 0.05)
    assert "go back" in stream.complaint(now)
    now = hear(stream, 3.0 * WINDOW, lambda time: state(time - 5.0), now + 0.05)
    assert stream.complaint(now) == ""


def test_two_publishers_that_take_turns_are_no_stamps_that_go_back() -> None:
    stream = joints()
    for number in range(80):
        now = number / RATE
        stream.hear(now, CLOCK + now, state(CLOCK + now))
        stream.hear(now + 0.001, CLOCK + now + 0.001, state(CLOCK + now - 0.01))
        assert number < 3 or stream.complaint(now + 0.001) == ""


def test_what_has_no_stamp_is_stamped_when_it_comes() -> None:
    stream = joints()
    assert stream.complaint(hear(stream, 1.0, lambda time: state(0.0))) == ""
    assert stream.hear(9.0, CLOCK + 9.0, state(0.0)) == CLOCK + 9.0


CHANGES = [((8, 12), {}, "20x8 rgb8"), ((4, 6), {"encoding": "bgr8"}, "14x4 bgr8")]


@pytest.mark.parametrize(("size", "changes", "look"), CHANGES)
def test_pictures_that_change_in_an_episode_are_told_until_it_ends(size: tuple[int, int], changes: dict[str, Any], look: str) -> None:
    stream = camera()
    last = hear(stream, 3.0, picture)
    stream.begin()
    assert stream.complaint(last, recording=True) == ""
    last = hear(stream, 0.1, lambda time: picture(time, size, **changes), last + 0.05)
    last = hear(stream, 2.0 * WINDOW, picture, last + 0.05)
    told = f"/front shows pictures of {look}, where it began with 14x4 rgb8"
    assert stream.complaint(last, recording=True) == told
    assert stream.complaint(last) == ""
    stream.begin()
    assert stream.complaint(last, recording=True) == ""


@pytest.mark.parametrize(("size", "changes", "look"), CHANGES)
def test_pictures_that_change_keep_an_episode_from_beginning_until_they_stay(
    size: tuple[int, int], changes: dict[str, Any], look: str
) -> None:
    stream = camera()
    last = hear(stream, 3.0, picture)
    last = hear(stream, 0.5, lambda time: picture(time, size, **changes), last + 0.05)
    assert stream.complaint(last) == f"/front changes its pictures: {look} now"
    last = hear(stream, 2.0 * WINDOW, lambda time: picture(time, size, **changes), last + 0.05)
    assert stream.complaint(last) == ""


def test_bytes_that_are_no_picture_are_a_change_and_no_crash() -> None:
    stream = camera()
    last = hear(stream, 3.0, picture)
    last = hear(stream, 0.5, lambda time: picture(time)[:40], last + 0.05)
    assert "bytes that are no picture" in stream.complaint(last)


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999), st.booleans())
def test_the_stamp_is_read_in_either_byte_order(sec: int, nanosec: int, big: bool) -> None:
    message = joint_state(1.0)
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    data = bytes(typestore().serialize_cdr(message, TYPES[JOINTS][0], little_endian=not big))
    assert stamp_of(data) == pytest.approx(sec + 1e-9 * nanosec, abs=1e-6)


RELIABLE, BEST_EFFORT = True, False
RAW, PRESSED = TYPES[CAMERA]


def followed(*told: Iterable[tuple[str, bool]]) -> tuple[list[bool], LiveStream]:
    stream = replace(camera(), kind="")
    return [stream.follow(list(each)) for each in told], stream


def test_a_publisher_of_another_kind_is_followed_and_the_same_one_is_not_followed_twice() -> None:
    first, other, softer = [(RAW, RELIABLE)], [(PRESSED, RELIABLE)], [(PRESSED, BEST_EFFORT)]
    news, stream = followed(first, first, other, other, softer, softer)
    assert news == [True, False, True, False, True, False]
    assert (stream.kind, stream.reliable, stream.wrong) == (PRESSED, BEST_EFFORT, "")
    _, both = followed([(RAW, RELIABLE), (RAW, BEST_EFFORT)])
    assert not both.reliable, "only so are both heard"


def test_a_type_that_is_not_allowed_is_named_until_another_publishes() -> None:
    wrong, right = [(TYPES[JOINTS][0], RELIABLE)], [(RAW, RELIABLE)]
    news, stream = followed(right, wrong, wrong)
    assert news == [True, True, False]
    assert "/front is a sensor_msgs/msg/JointState, not a sensor_msgs/msg/Image or" in stream.complaint(0.0)
    assert stream.follow(right)
    assert (stream.kind, stream.wrong) == (RAW, "")


def test_publishers_are_asked_for_again_after_a_silence_and_once_a_second() -> None:
    stream = joints()
    last = hear(stream, 1.0, state)
    asked = [number for number in range(500) if stream.ask_again(last + 0.01 * number)]
    assert asked[0] == pytest.approx(100.0 * stream.patience, abs=1.0), "not while it is heard"
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses == pytest.approx([100.0 * AGAIN] * len(pauses), abs=1.0)
