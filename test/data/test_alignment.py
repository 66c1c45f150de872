"""Protects the rows of a recording: no error of the clock adds up, nothing is from the future, a moment is shown once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.data import alignment
from wm_core.data.errors import EpisodeError

GAPS = st.lists(st.floats(0.02, 0.4), min_size=2, max_size=80)
RATES = st.sampled_from([5.0, 10.0, 15.0, 30.0])


def stamps_of(gaps: list[float]) -> np.ndarray:
    return 100.0 + np.cumsum(gaps)


@given(st.floats(0.0, 900.0), RATES)
def test_the_length_of_an_episode_is_right_to_a_row(seconds: float, fps: float) -> None:
    due = alignment.ticks(50.0, 50.0 + seconds, fps)
    assert abs(len(due) / fps - seconds) <= 1.0 / fps + 1e-6
    assert np.abs(due - (50.0 + np.arange(len(due)) / fps)).max() < 1e-9


@given(GAPS, RATES)
def test_rows_grow_show_no_future_and_show_a_frame_at_its_own_time(gaps: list[float], fps: float) -> None:
    stamps = stamps_of(gaps)
    due = alignment.ticks(stamps[0], stamps[-1], fps)
    chosen, rows = alignment.frame_rows(stamps, due, fps)
    assert np.all(np.diff(rows) > 0.0)
    assert np.all(stamps[chosen] <= rows + 1e-12), "no row shows a frame that was not there yet"
    fresh = np.diff(chosen, prepend=-1) > 0
    assert np.array_equal(stamps[chosen[fresh]], rows[fresh])
    assert np.all(rows <= due + alignment.EARLY / fps + 1e-9)
    assert np.all(rows[~fresh] == due[~fresh])


@given(GAPS, GAPS)
def test_the_newest_that_is_not_later_is_taken(gaps: list[float], others: list[float]) -> None:
    stamps, rows = stamps_of(gaps), stamps_of(others)
    chosen = alignment.newest(stamps, rows)
    for row, index in zip(rows, chosen, strict=True):
        earlier = stamps[stamps <= row]
        assert index == len(earlier) - 1
    ages = alignment.ages(stamps, chosen, rows)
    assert np.all(ages >= 0.0)
    assert np.all(np.isinf(ages) == (chosen < 0))


def test_a_camera_that_jitters_about_the_clock_loses_no_frame_and_repeats_none() -> None:
    draw = np.random.default_rng(0)
    stamps = np.arange(300) / 10.0 + draw.uniform(0.0, 0.02, 300)
    chosen, rows = alignment.frame_rows(stamps, alignment.ticks(stamps[0], stamps[-1], 10.0), 10.0)
    assert np.array_equal(chosen, np.arange(len(chosen)))
    assert len(rows) >= 299


def test_streams_without_a_time_in_common_make_no_episode() -> None:
    with pytest.raises(EpisodeError, match="no time in common"):
        alignment.ticks(2.0, 1.0, 10.0)
