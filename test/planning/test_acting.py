"""Protects what happens around a plan: what it starts from, which step is due, and when a goal is reached or given up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_core.errors import ConfigurationError, PlanningError
from wm_core.planning.history import History, Reading
from wm_core.planning.pursuit import Outcome, PursuitConfig, begin, follow
from wm_core.planning.track import Track
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN

NOTHING = np.zeros((0, 7))
CONFIG = PursuitConfig(tolerance=0.1, hysteresis=1.5, settle=3, progress=0.02, patience=3.0, timeout=10.0)


def pose(x: float, yaw: float = 0.0) -> np.ndarray:
    return rotation.pose(np.array([x, 0.0, 0.2]), rotation.matrix(np.array([0.0, 0.0, yaw])) @ DOWN)


def moving(seconds: float = 2.0, camera: float = 0.1, history: History | None = None) -> History:
    """A tool that goes along x at 0.1 m/s and turns at 0.5 rad/s; each frame says its own time."""
    history = history or History(seconds=10.0)
    for index in range(round(seconds * 50) + 1):
        history.feel(Reading(index / 50, pose(0.1 * index / 50, 0.5 * index / 50), 1.0))
    for index in range(round(seconds / camera) + 1):
        history.see(index * camera, torch.full((4, 2), index * camera))
    return history


def test_frames_are_a_step_apart_and_actions_lead_from_one_to_the_next() -> None:
    seen = moving().seen(5, 0.2, NOTHING)
    torch.testing.assert_close(seen.latents[:, 0, 0], torch.tensor([1.2, 1.4, 1.6, 1.8, 2.0]))
    assert seen.known.all()
    np.testing.assert_allclose(seen.actions[:, 0], 0.02, atol=1e-6)
    np.testing.assert_allclose(seen.actions[:, 5], 0.1, atol=1e-6)
    assert seen.readings is not None
    np.testing.assert_allclose(seen.readings[:, 0], [0.12, 0.14, 0.16, 0.18, 0.20], atol=1e-6)
    np.testing.assert_allclose(seen.readings[:, 5], [0.6, 0.7, 0.8, 0.9, 1.0], atol=1e-6)


def test_a_pose_between_two_readings_is_between_them() -> None:
    history = moving()
    there = history.reading_at(1.013)
    assert there is not None
    assert there.pose[0, 3] == pytest.approx(0.1013)
    assert rotation.vector(there.pose[:3, :3] @ DOWN.T)[2] == pytest.approx(0.5065)
    assert history.reading_at(2.5) is None
    assert history.reading_at(-0.1) is None


def test_a_young_history_gives_what_it_has() -> None:
    assert len(moving(0.5).seen(8, 0.2, NOTHING).latents) == 3
    assert len(moving(0.0).seen(8, 0.2, NOTHING).latents) == 1
    with pytest.raises(PlanningError, match="is the encoder running"):
        History(5.0).seen(8, 0.2, NOTHING)


def test_a_gap_in_the_pictures_ends_the_row() -> None:
    history = moving(1.0)
    for index in range(4):  # the camera was away for a second
        history.see(2.0 + 0.2 * index, torch.zeros(4, 2))
    assert len(history.seen(8, 0.2, NOTHING).latents) == 4


def test_where_the_tool_was_not_known_neither_is_the_action() -> None:
    history = History(10.0)
    for index in range(6):
        history.see(0.2 * index, torch.zeros(4, 2))
        if index >= 3:
            history.feel(Reading(0.2 * index, pose(0.0), 1.0))
    seen = history.seen(6, 0.2, NOTHING)
    assert seen.known.tolist() == [False, False, False, True, True]
    assert seen.readings is None


def test_what_comes_late_or_twice_is_left_out_and_what_is_old_forgotten() -> None:
    history = moving(2.0)
    history.see(1.0, torch.full((4, 2), 77.0))
    history.feel(Reading(1.0, pose(9.0), 0.0))
    seen = history.seen(20, 0.1, NOTHING)
    assert (seen.latents < 10.0).all()
    assert seen.readings is not None
    assert (seen.readings[:, 0] < 1.0).all()
    short = moving(2.0, history=History(0.5))
    assert len(short.seen(20, 0.1, NOTHING).latents) == 6
    short.clear()
    assert short.newest == -np.inf


def test_each_step_of_control_is_due_in_its_turn() -> None:
    actions = np.zeros((2, 7))
    actions[:, 0], actions[:, 6] = [0.04, 0.02], [0.3, 0.9]
    track = Track(actions, start=5.0, seconds=0.2, chunk=2)
    assert track.control(4.99) is None
    assert [track.control(5.0 + 0.1 * step)[0] for step in range(4)] == pytest.approx([0.02, 0.02, 0.01, 0.01])  # type: ignore[index]
    assert track.control(5.399) is not None
    assert track.control(5.4) is None
    assert track.end == pytest.approx(5.4)


def test_what_a_track_does_between_two_times() -> None:
    actions = np.zeros((3, 7))
    actions[:, 0], actions[:, 6] = [0.04, 0.02, 0.01], [0.1, 0.2, 0.3]
    track = Track(actions, start=0.0, seconds=0.2, chunk=2)
    assert track.between(0.0, 0.6)[0] == pytest.approx(0.07)
    assert track.between(0.1, 0.3)[0] == pytest.approx(0.03)
    assert track.between(-1.0, 0.0)[0] == pytest.approx(0.0)
    assert track.between(0.5, 9.0)[0] == pytest.approx(0.005)
    assert track.between(0.1, 0.3)[6] == pytest.approx(0.2)
    np.testing.assert_allclose(track.rest(0.2)[:, 0], [0.02, 0.01, 0.0])
    np.testing.assert_allclose(track.rest(-1.0), actions)


def test_a_goal_is_reached_when_it_stays_reached() -> None:
    pursuit = begin(2.0, 0.0)
    outcomes = []
    for index, distance in enumerate([1.0, 0.19, 0.25, 0.31, 0.19, 0.28, 0.29]):
        pursuit, outcome = follow(CONFIG, pursuit, distance, 0.1 * index)
        outcomes.append(outcome)
    # 0.25 is within the hysteresis, 0.31 is not: the count begins again
    assert outcomes == [Outcome.RUNNING] * 6 + [Outcome.REACHED]
    assert pursuit.share == pytest.approx(0.145)


def test_an_arm_that_begins_at_its_goal_is_there() -> None:
    pursuit, outcome = begin(0.001, 0.0), Outcome.RUNNING
    for index in range(3):
        assert outcome is Outcome.RUNNING
        pursuit, outcome = follow(replace(CONFIG, near=0.002), pursuit, 0.0015, 0.1 * index)
    assert outcome is Outcome.REACHED


def test_an_arm_that_finds_something_nearer_still_has_twice_as_long() -> None:
    pursuit, outcomes = begin(1.0, 0.0), []
    for index in range(6):
        pursuit, outcome = follow(CONFIG, pursuit, 0.05, 0.1 * index, rests=False)
        outcomes.append(outcome)
    assert outcomes == [Outcome.RUNNING] * 5 + [Outcome.REACHED]
    assert follow(CONFIG, replace(pursuit, within=2), 0.05, 0.6)[1] is Outcome.REACHED


def test_a_goal_that_comes_no_nearer_is_given_up() -> None:
    pursuit = begin(1.0, 0.0)
    for step in range(20):
        pursuit, outcome = follow(CONFIG, pursuit, 1.0 - 0.03 * step, 0.1 * step)
        assert outcome is Outcome.RUNNING
    stuck = pursuit.nearest
    pursuit, outcome = follow(CONFIG, pursuit, stuck - 0.01, 1.9 + 2.9)
    assert outcome is Outcome.RUNNING
    _, outcome = follow(CONFIG, pursuit, stuck - 0.015, 1.9 + 3.0)
    assert outcome is Outcome.NO_PROGRESS


def test_time_runs_out_even_on_the_way() -> None:
    pursuit, outcome = begin(1.0, 0.0), Outcome.RUNNING
    for step in range(101):
        assert outcome is Outcome.RUNNING
        pursuit, outcome = follow(CONFIG, pursuit, 1.0 - 0.008 * step, 0.1 * step)
    assert outcome is Outcome.TIMED_OUT


def test_patience_beyond_the_timeout_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="patience"):
        PursuitConfig(0.1, 1.5, 3, 0.02, 11.0, 10.0)
