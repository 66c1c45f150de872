"""Protects the embedded arm's clock: nothing due is skipped or doubled, and lock-step waits for commands and for nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core import configuration
from wm_core.simulation.sim_config import SimConfig
from wm_ros.sim_time import LONGEST_CATCH_UP, PATIENCE, SimTime

SHIPPED = configuration.read(SimConfig, Path(__file__).parents[2] / "config" / "sim_arm.yaml")
LOCK_STEP = dataclasses.replace(SHIPPED, mode="lock_step")
slices = st.lists(st.floats(0.0, 0.2), min_size=1, max_size=40)


@given(slices)
def test_however_time_is_sliced_the_same_is_due(durations: list[float]) -> None:
    time, done = SimTime(LOCK_STEP), 0.0
    steps, counts = 0, [0, 0, 0]
    for duration in durations:
        done += duration
        for piece in time.pieces(duration):
            steps += piece.steps
            counts = [count + due for count, due in zip(counts, (piece.joint_states, piece.transforms, piece.images), strict=True)]
    assert time.stamp(0.0) == pytest.approx(done, abs=1e-6)
    rates = (SHIPPED.joint_state_rate, SHIPPED.transform_rate, SHIPPED.camera_rate)
    for count, rate in zip(counts, rates, strict=True):
        assert abs(count - done * rate) < 1.0 + 1e-6
    assert abs(steps - done / SHIPPED.physics_step) < 1.0 + 1e-6


@given(slices, slices)
def test_after_a_restart_the_same_is_due_whatever_was_before(before: list[float], after: list[float]) -> None:
    def dues(time: SimTime) -> list[tuple[int, bool, bool, bool]]:
        return [dataclasses.astuple(piece) for duration in after for piece in time.pieces(duration)]

    fresh, used = SimTime(LOCK_STEP), SimTime(LOCK_STEP)
    fresh.restart(0.0)
    for duration in before:
        list(used.pieces(duration))
    stamp = used.stamp(0.0)
    used.restart(1.0)
    assert used.stamp(0.0) == stamp
    assert dues(used) == dues(fresh)
    assert used.stamp(0.0) >= stamp


def test_real_time_follows_the_wall_clock_and_gives_up_what_it_cannot_catch_up() -> None:
    time = SimTime(SHIPPED)
    time.start(100.0)
    assert time.idle(100.03) == pytest.approx(0.03)
    assert time.idle(101.03) == LONGEST_CATCH_UP
    assert time.behind == pytest.approx(1.0 - LONGEST_CATCH_UP)


def test_real_time_stamps_what_is_caught_up_with_the_time_it_belongs_to() -> None:
    time = SimTime(SHIPPED)
    time.start(0.0)
    stamps = [time.stamp(50.0) for piece in time.pieces(0.03) if piece.joint_states]
    assert stamps == pytest.approx([49.98, 49.99, 50.0])


def test_lock_step_runs_by_itself_until_somebody_commands_and_again_when_they_are_gone() -> None:
    time = SimTime(LOCK_STEP)
    time.start(10.0)
    assert time.idle(10.05) == pytest.approx(0.05)
    assert time.commanded(0.2, 10.06) == 0.2
    assert time.idle(10.5) == 0.0
    assert time.idle(10.05 + PATIENCE) == 0.0
    assert time.idle(10.06 + PATIENCE + 0.04) > 0.0
    time.restart(20.0)
    assert time.idle(20.0 + 0.9 * PATIENCE) == 0.0
