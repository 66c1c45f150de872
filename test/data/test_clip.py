"""Protects time: a clip at another rate lasts as long as it says; and pictures that keep their content when they change size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.errors import ConfigurationError


@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 500), st.integers(1, 400))
def test_the_phase_accumulates(source: int, wanted: int, start: int, frames: int) -> None:
    source, wanted = max(source, wanted), min(source, wanted)
    rows = ClipRequest(seconds=frames / wanted, fps=float(wanted)).rows(start, float(source))
    exact = [start + (Fraction(i * source, wanted).__floor__()) for i in range(frames + 1)]
    assert rows.tolist() == exact


@given(st.floats(1.0, 60.0), st.floats(1.0, 60.0), st.integers(1, 300))
def test_a_clip_lasts_its_time_within_one_row(first: float, second: float, frames: int) -> None:
    source, wanted = max(first, second), min(first, second)
    rows = ClipRequest(seconds=frames / wanted, fps=wanted).rows(0, source)
    times = np.arange(len(rows)) / wanted
    assert np.all(np.abs(rows / source - times) <= 1.0 / source + 1e-6)
    assert np.all(np.diff(rows) >= 1)


def test_more_frames_than_were_recorded_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="more frames than were recorded"):
        ClipRequest(1.0, 30.0).rows(0, 10.0)


def gradient(height: int, width: int) -> np.ndarray:
    across = np.linspace(0, 255, width)[None, :, None].repeat(height, 0).repeat(3, 2)
    return across.astype(np.uint8)[None]


def test_squash_keeps_both_ends_and_crop_the_middle() -> None:
    frames = gradient(60, 120)
    squashed = Preprocessing(30, 30, "squash").apply(frames)[0, 0, :, 0]
    cropped = Preprocessing(30, 30, "crop").apply(frames)[0, 0, :, 0]
    assert squashed[0] < 10
    assert squashed[-1] > 245
    assert abs(int(cropped[0]) - 64) < 6
    assert abs(int(cropped[-1]) - 191) < 6


def test_pad_adds_black_and_keeps_the_aspect() -> None:
    frames = np.full((1, 60, 120, 3), 200, dtype=np.uint8)
    padded = Preprocessing(40, 40, "pad").apply(frames)[0, :, 20, 0]
    assert padded[:9].max() == 0
    assert padded[-9:].max() == 0
    assert padded[12:28].min() == 200


def test_shrinking_averages_over_areas() -> None:
    frames = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    frames[:, ::2] = 200
    assert np.all(np.abs(Preprocessing(16, 16).apply(frames).astype(int) - 100) <= 1)


def test_descriptions_differ_when_pictures_would() -> None:
    kinds = [Preprocessing(), Preprocessing(32, 32), Preprocessing(32, 48), Preprocessing(32, 32, "crop"), Preprocessing(32, 32, "pad")]
    assert len({kind.describe() for kind in kinds}) == len(kinds)
