"""Protects what is read of a camera's message without its pixels: what the package reads of the whole; bytes that are none are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import photograph

from wm_core.data.errors import EpisodeError
from wm_core.data.heard import Heard
from wm_core.data.image_head import IMAGE, image_head
from wm_core.data.message_types import decoded, encoded, seconds, typestore

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


@given(frame=WORDS, encoding=WORDS, height=st.integers(0, 4), width=st.integers(0, 2**32 - 1), step=st.integers(0, 9), big=st.booleans())
def test_it_is_what_the_package_reads(frame: str, encoding: str, height: int, width: int, step: int, big: bool) -> None:
    message = photograph(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 1234.56789)
    message.header.frame_id, message.encoding, message.height, message.width, message.step = frame, encoding, height, width, step
    data = bytes(typestore().serialize_cdr(message, IMAGE, little_endian=not big))
    whole, head = decoded(data, IMAGE), image_head(data)
    assert (head.frame, head.encoding) == (whole.header.frame_id, whole.encoding)
    assert (head.height, head.width, head.step, head.length) == (whole.height, whole.width, whole.step, len(whole.data))
    assert head.stamp == seconds(whole.header.stamp) == Heard("/camera", IMAGE, 5.0, data).stamp


@given(cut=st.integers(0, 75))
def test_one_that_is_cut_short_is_refused(cut: int) -> None:
    data = encoded(photograph(np.zeros((2, 4, 3), np.uint8), 1.0), IMAGE)
    assert len(data) == 76
    with pytest.raises(EpisodeError, match="is not the sensor_msgs/msg/Image"):
        image_head(data[:cut])


@given(data=st.binary(max_size=60))
def test_noise_is_read_or_refused_and_never_more_than_there_is(data: bytes) -> None:
    try:
        head = image_head(data)
    except EpisodeError:
        return
    assert head.length <= len(data)
