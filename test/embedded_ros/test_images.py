"""Protects the DDS profile: 640x480 images at 30 Hz cross between two processes without loss, reliable and best effort."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from images_over_dds import HEIGHT, WIDTH, measure
from ros_process import Domain

FRAMES = 150


@pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
def test_no_image_is_lost_or_damaged(domain: Domain, reliability: str) -> None:
    result = measure(domain.number, reliability, FRAMES)
    assert (result.lost, result.intact) == (0, FRAMES)


def test_the_profile_in_force_has_room_for_images() -> None:
    profile = ElementTree.parse(Path(os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"])).getroot()
    (size,) = (int(element.text or 0) for element in profile.iter() if element.tag.endswith("segment_size"))
    assert size >= 16 * WIDTH * HEIGHT * 3
