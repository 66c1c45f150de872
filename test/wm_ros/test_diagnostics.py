"""Protects the rates, ages and overruns that nodes report: known arrivals give known numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_ros.diagnostics import Loop, Stream


@given(st.floats(1.0, 500.0), st.floats(0.0, 1e6))
def test_an_even_stream_has_its_rate_and_the_age_of_its_newest(rate: float, start: float) -> None:
    stream = Stream(window=2.0)
    count = int(4.0 * rate) + 2
    for index in range(count):
        stream.arrived(start + index / rate)
    end = start + (count - 1) / rate
    assert stream.rate(end) == pytest.approx(rate, rel=1e-3)
    assert stream.age(end + 0.25) == pytest.approx(0.25, abs=1e-6)
    assert stream.count == count


def test_a_stream_that_ended_falls_to_zero() -> None:
    stream = Stream(window=2.0)
    for index in range(100):
        stream.arrived(index * 0.01)
    assert stream.rate(1.5) < 100.0
    assert stream.rate(10.0) == 0.0
    assert Stream().age(0.0) == float("inf")


def test_only_ticks_more_than_half_a_period_late_are_overruns() -> None:
    loop = Loop(period=0.01)
    late = [loop.tick(now) for now in (0.0, 0.010, 0.0249, 0.0401, 0.0501)]
    assert late == [False, False, False, True, False]
    assert loop.overruns == 1
    assert loop.longest == pytest.approx(0.0152)
