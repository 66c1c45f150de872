"""Protects the schedule: plans take over from each other without a gap, and what comes late catches up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.planning.schedule import Schedule, Ticks
from wm_core.planning.track import Track

STEP, TICK = 0.2, 0.1
times = st.floats(-1.0, 3.0)


def track(speed: float, start: float, opening: float = 0.5) -> Track:
    actions = np.zeros((5, 7))
    actions[:, 0], actions[:, 4], actions[:, 6] = speed * STEP, 0.1 * speed, opening
    return Track(actions, start, STEP, 2)


@given(st.floats(-5.0, 5.0), st.floats(-50.0, 50.0))
def test_the_tick_after_a_moment_is_the_first_that_is_not_before_it(origin: float, moment: float) -> None:
    ticks = Ticks(origin, TICK)
    after = ticks.after(moment)
    assert moment - 1e-5 <= after <= moment + TICK
    assert abs(ticks.nearest(after + 0.04) - after) < 1e-9
    assert abs(ticks.nearest(after - 0.04) - after) < 1e-9


@settings(max_examples=60)
@given(times, times, times, st.lists(st.floats(0.0, 1.5), min_size=1, max_size=4))
def test_what_is_done_adds_up(a: float, b: float, c: float, starts: list[float]) -> None:
    schedule = Schedule()
    for index, start in enumerate(starts):
        schedule = schedule.extended(track(0.1 * (index + 1), start))
    first, middle, last = sorted((a, b, c))
    whole = schedule.between(first, last, 0.0)[:6]
    parts = schedule.between(first, middle, 0.0)[:6] + schedule.between(middle, last, 0.0)[:6]
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_each_track_counts_until_the_next_begins() -> None:
    schedule = Schedule().extended(track(0.1, 0.0)).extended(track(0.2, 0.4))
    speeds = [schedule.control(moment) for moment in (-0.1, 0.0, 0.3, 0.4, 1.3, 1.4)]
    assert [None if step is None else round(float(step[0] / TICK), 6) for step in speeds] == [None, 0.1, 0.1, 0.2, 0.2, None]
    assert round(schedule.between(0.3, 0.5, 0.0)[0], 9) == 0.03
    assert schedule.between(-2.0, -1.0, 0.7)[6] == 0.7
    assert schedule.extended(track(0.3, 0.2)).control(0.5)[0] / TICK == 0.3  # type: ignore[index]


def test_a_late_track_ends_where_it_would_have_ended() -> None:
    old, new = track(0.1, 0.0), track(-0.1, 0.4)
    schedule = Schedule().extended(old)
    late = schedule.caught_up(new, 0.6, (0.07, 0.12))
    joined = schedule.extended(late)
    wanted = schedule.extended(new).between(0.0, 3.0, 0.0)
    np.testing.assert_allclose(joined.between(0.0, 3.0, 0.0)[:3], wanted[:3], atol=1e-12)
    hurried = schedule.caught_up(new, 0.6, (0.02, 0.12))
    assert np.linalg.norm(hurried.actions[0, :3]) <= 0.02 + 1e-12
