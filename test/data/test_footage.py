"""Protects the pictures of a recording: one reading serves all cameras, and whoever lags behind or goes back sees the same pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pytest
from recordings import START, photograph

from wm_core.data.footage import AHEAD, Footage, Reel
from wm_core.data.heard import Heard
from wm_core.data.message_types import encoded
from wm_core.data.recording_config import CAMERA, TYPES

TOPICS, KIND = ("/front", "/side"), TYPES[CAMERA][0]


class File:
    """`count` messages of each camera in turn, whose pictures tell camera and number; how often it was read."""

    def __init__(self, count: int) -> None:
        self.count, self.readings = count, 0

    def __call__(self, topics: Collection[str]) -> Iterator[Heard]:
        self.readings += 1
        for number in range(self.count):
            for index, topic in enumerate(TOPICS):
                if topic in topics:
                    pixels = np.full((2, 3, 3), 100 * index + number % 100, np.uint8)
                    yield Heard(topic, KIND, START + number, encoded(photograph(pixels, START + number), KIND))


def footages(file: File) -> list[Footage]:
    reel = Reel(file, TOPICS)
    return [Footage(file, reel, topic, np.arange(file.count), (2, 3)) for topic in TOPICS]


def test_side_by_side_the_file_is_read_once() -> None:
    file = File(3 * AHEAD)
    front, side = footages(file)
    for row in range(file.count):
        assert (front[row] == row % 100).all()
        assert (side[row] == 100 + row % 100).all()
    assert file.readings == 1


@pytest.mark.parametrize("count", [AHEAD, 3 * AHEAD])
@pytest.mark.parametrize("begun", [0, 5])
def test_one_after_the_other_they_are_the_same(count: int, begun: int) -> None:
    file = File(count)
    front, side = footages(file)
    for row in range(begun):
        assert (side[row] == 100 + row).all()
    for row in range(count):
        assert (front[row] == row % 100).all()
    for row in range(begun, count):
        assert (side[row] == 100 + row % 100).all()
    assert file.readings == (1 if count == AHEAD else 2)


def test_going_back_shows_the_same_again() -> None:
    front, side = footages(File(10))
    assert (front[7] == 7).all()
    assert (front[2] == 2).all()
    assert (side[0] == 100).all()
    assert (front[9] == 9).all()
