"""Protects: the speeds from which a stop fits, the shape of acceleration, and the bounds that never contradict each other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.robot.braking import braking_speed, gentle_speed, smooth_braking_speed
from wm_core.robot.joint_box import JointRange
from wm_core.robot.shaping import brake, shape

PERIOD = 0.005
rates = st.floats(0.5, 50.0)
distances = st.floats(0.0, 7.0)


@given(distances, rates)
def test_a_stop_from_the_braking_speed_just_fits(distance: float, rate: float) -> None:
    speed, travelled = braking_speed(distance, rate, PERIOD), 0.0
    while speed > 0.0:
        travelled += speed * PERIOD
        speed -= rate * PERIOD
    assert travelled <= distance * (1 + 1e-9) + 1e-12
    assert travelled >= distance - rate * PERIOD**2 / 8 - 1e-9


@given(distances, rates)
def test_the_braking_speed_lies_just_below_the_curve_of_the_safety_table(distance: float, rate: float) -> None:
    half = rate * PERIOD / 2
    table = -half + math.sqrt(half**2 + 2 * rate * distance)
    assert math.isclose(smooth_braking_speed(distance, rate, PERIOD), table, abs_tol=1e-12)
    assert table - rate * PERIOD / 2 <= braking_speed(distance, rate, PERIOD) <= table + 1e-9


@given(distances, rates)
def test_following_the_gentle_speed_stays_below_the_acceleration(distance: float, rate: float) -> None:
    jerk, room, last = 50 * rate, distance, None
    for _ in range(2000):
        speed = gentle_speed(room, rate, jerk, PERIOD)
        if last is not None:
            assert last - speed <= rate * PERIOD
        room, last = room - speed * PERIOD, speed
    assert room >= 0.0


def test_no_room_no_speed_and_endless_room_any_speed() -> None:
    assert braking_speed(0.0, 5.0, PERIOD) == braking_speed(-1.0, 5.0, PERIOD) == braking_speed(1.0, 0.0, PERIOD) == 0.0
    assert gentle_speed(1.0, 5.0, 0.0, PERIOD) == gentle_speed(-1.0, 5.0, 10.0, PERIOD) == 0.0
    assert math.isinf(braking_speed(math.inf, 5.0, PERIOD))
    assert math.isinf(gentle_speed(math.inf, 5.0, 250.0, PERIOD))


LIMITS, JERKS = [5.0, 5.0, 5.0, 10.0, 10.0, 10.0], [250.0, 250.0, 250.0, 500.0, 500.0, 500.0]
vectors = st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6)


@settings(max_examples=60)
@given(vectors, vectors)
def test_shaping_reaches_any_target_within_acceleration_and_jerk(first: list[float], second: list[float]) -> None:
    velocity, acceleration = [0.0] * 6, [0.0] * 6
    for target in (first, second):
        for _ in range(300):
            new = shape(velocity, acceleration, target, LIMITS, JERKS, PERIOD)
            change = [(a - b) / PERIOD for a, b in zip(new, velocity, strict=True)]
            assert all(abs(a) <= limit * (1 + 1e-9) for a, limit in zip(change, LIMITS, strict=True))
            jumps = [abs(a - b) for a, b in zip(change, acceleration, strict=True)]
            assert all(jump <= jerk * PERIOD * (1 + 1e-9) + 1e-9 for jump, jerk in zip(jumps, JERKS, strict=True))
            velocity, acceleration = new, change
        np.testing.assert_allclose(velocity, target, atol=1e-9)


@settings(max_examples=60)
@given(vectors)
def test_shaping_from_rest_keeps_the_direction_and_never_overshoots(target: list[float]) -> None:
    velocity, acceleration, size = [0.0] * 6, [0.0] * 6, max(map(abs, target))
    for _ in range(300):
        new = shape(velocity, acceleration, target, LIMITS, JERKS, PERIOD)
        velocity, acceleration = new, [(a - b) / PERIOD for a, b in zip(new, velocity, strict=True)]
        share = max(map(abs, velocity)) / size if size else 0.0
        assert share <= 1.0 + 1e-3
        np.testing.assert_allclose(velocity, np.array(target) * share, atol=1e-12)


def test_shaping_with_a_limit_of_zero_stays() -> None:
    for limits, jerks in (([0.0] * 6, JERKS), (LIMITS, [0.0] * 6)):
        assert shape([0.0] * 6, [0.0] * 6, [1.0] * 6, limits, jerks, PERIOD) == [0.0] * 6


@given(vectors)
def test_braking_takes_the_slowest_joint_its_limit_and_keeps_the_direction(velocity: list[float]) -> None:
    slower = brake(velocity, LIMITS, PERIOD)
    change = [abs(a - b) / PERIOD for a, b in zip(slower, velocity, strict=True)]
    assert all(a <= limit * (1 + 1e-9) for a, limit in zip(change, LIMITS, strict=True))
    if any(slower):
        assert max(a / limit for a, limit in zip(change, LIMITS, strict=True)) > 1 - 1e-9
    assert abs(np.cross(slower[:3], velocity[:3])).max() < 1e-12


RANGE = JointRange([-2.0] * 6, [2.0] * 6, [1.5] * 6, LIMITS, JERKS, 0.0175, PERIOD)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6),
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_position_velocity_and_acceleration_never_contradict_each_other(q: list[float], shares: list[float], seed: int) -> None:
    """From any velocity inside the box the next box is reachable: whichever end is taken, the range is not left."""
    rng = np.random.default_rng(seed)
    start = RANGE.reachable(q, [0.0] * 6)
    velocity = start.clip(shares)
    for _ in range(100):
        box = RANGE.reachable(q, velocity)
        assert all(low <= high for low, high in zip(box.low, box.high, strict=True))
        ends = [high if rng.random() < 0.8 else low for low, high in zip(box.low, box.high, strict=True)]
        assert all(abs(new - old) <= limit * PERIOD * (1 + 1e-9) for new, old, limit in zip(ends, velocity, LIMITS, strict=True))
        velocity = ends
        q = [position + speed * PERIOD for position, speed in zip(q, velocity, strict=True)]
        assert all(-2.0 - 1e-9 <= position <= 2.0 + 1e-9 for position in q)
