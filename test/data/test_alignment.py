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


@given(GAPS, st.lists(GAPS, max_size=2), RATES, st.floats(0.0, alignment.TOGETHER))
def test_rows_that_wait_for_other_cameras_grow_too_and_wait_no_longer_than_they_may(
    gaps: list[float], others: list[list[float]], fps: float, share: float
) -> None:
    patience = share / fps
    stamps, beside = stamps_of(gaps), [stamps_of(one) for one in others]
    due = alignment.ticks(stamps[0], stamps[-1], fps)
    alone, before = alignment.frame_rows(stamps, due, fps)
    chosen, rows = alignment.frame_rows(stamps, due, fps, beside, patience)
    assert np.array_equal(chosen, alone), "waiting changes no row's frame"
    assert np.all(np.diff(rows) > 0.0)
    waited = rows - before
    assert np.all((waited >= 0.0) & (waited <= patience + 1e-9))
    taken = np.concatenate([*beside, [np.inf]])
    assert all(row in taken for row in rows[waited > 0.0]), "a row waits for a frame, and no longer"


@given(st.floats(-0.0333, 0.0333), st.integers(0, 9))
def test_no_picture_of_two_equal_cameras_is_older_than_three_quarters_of_a_period(phase: float, seed: int) -> None:
    draw, period = np.random.default_rng(seed), 1 / 30.0
    left, right = (np.arange(300) * period + shift + draw.uniform(0.0, 2e-4, 300) for shift in (0.0, phase))
    due = alignment.ticks(left[1], left[-2], 30.0)
    chosen, rows = alignment.frame_rows(left, due, 30.0, [right], alignment.TOGETHER * period)
    for stamps, shown in ((left, chosen), (right, alignment.newest(right, rows))):
        ages = alignment.ages(stamps, shown, rows)
        assert ages.min() >= 0.0
        assert ages.max() <= (1.0 - alignment.TOGETHER) * period + 3e-4


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


@given(st.lists(st.floats(0.0, 100.0), max_size=60))
def test_of_stamps_in_any_order_a_longest_growing_part_is_kept(stamps: list[float]) -> None:
    kept = alignment.growing(np.array(stamps))
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(np.array(stamps)[kept]) > 0.0)
    longest = [1] * len(stamps)  # a second computation, by hand and slow
    for index, stamp in enumerate(stamps):
        longest[index] = 1 + max((longest[before] for before in range(index) if stamps[before] < stamp), default=0)
    assert len(kept) == max(longest, default=0)


@given(GAPS)
def test_what_lies_far_from_the_rest_is_not_together_with_it(gaps: list[float]) -> None:
    stamps = stamps_of(gaps)
    assert np.array_equal(alignment.together(np.append(stamps, stamps[-1] + 61.0), 60.0), np.arange(len(stamps)))


def test_streams_without_a_time_in_common_make_no_episode() -> None:
    with pytest.raises(EpisodeError, match="no time in common"):
        alignment.ticks(2.0, 1.0, 10.0)
