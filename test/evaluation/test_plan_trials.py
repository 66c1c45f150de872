"""Protects the trials of plan ranking: what is carried out is what the model is told, and the same seed gives the same trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wm_core import configuration
from wm_core.errors import ConfigurationError
from wm_core.evaluation.plan_trials import Trial, TrialConfig, bounds, draw_candidates, trials
from wm_core.planning.bounds import ToolState
from wm_core.robot.proprioception import DOWN, pose_of_row
from wm_core.simulation.sim_config import SimConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"
SMALL = TrialConfig(starts=2, candidates=6, horizon=3, context=3)
SPREAD = np.array([0.02, 0.02, 0.02, 0.03, 0.03, 0.06])


@pytest.fixture(scope="module")
def arm() -> SimConfig:
    return configuration.read(SimConfig, CONFIG / "sim_arm.yaml")


@pytest.fixture(scope="module", params=[10.0, 5.0])
def rate(request: pytest.FixtureRequest) -> float:
    return request.param


@pytest.fixture(scope="module")
def tried(arm: SimConfig, rate: float) -> list[Trial]:
    return list(trials(SMALL, arm, SPREAD, rate))


def test_each_candidate_ends_where_its_actions_add_up_to(tried: list[Trial]) -> None:
    for trial in tried:
        start = pose_of_row(trial.states[-1])[:3, 3]
        asked = start + trial.candidates[:, :, :3].sum(axis=1)
        # The arm follows its commanded pose with a lag of about a centimetre; a candidate that was cut off would be several off.
        assert np.linalg.norm(trial.end_tools - asked, axis=1).max() < 0.025


def test_the_context_actions_lead_from_state_to_state(tried: list[Trial]) -> None:
    for trial in tried:
        places = np.array([pose_of_row(row)[:3, 3] for row in trial.states])
        np.testing.assert_allclose(np.diff(places, axis=0), trial.actions[:-1, :3], atol=1e-6)
        assert not trial.actions[-1].any()


def test_starts_goals_and_ends_differ(tried: list[Trial]) -> None:
    first, second = tried
    assert not np.array_equal(first.frames, second.frames)
    for trial in tried:
        assert len(np.unique(trial.end_tools.round(4), axis=0)) == SMALL.candidates
        assert np.linalg.norm(trial.end_tools - trial.goal_tool, axis=1).min() > 1e-4


def test_the_same_seed_gives_the_same_bytes(tried: list[Trial], arm: SimConfig, rate: float) -> None:
    again = next(trials(SMALL, arm, SPREAD, rate))
    for name, value in vars(again).items():
        np.testing.assert_array_equal(value, getattr(tried[0], name), err_msg=name)


def test_a_candidate_that_does_nothing_ends_at_the_last_seen_frame_of_a_resting_arm(arm: SimConfig) -> None:
    trial = next(trials(replace(SMALL, horizon=8), arm, np.zeros(6), 10.0))
    assert not trial.candidates[:, :, :6].any()
    np.testing.assert_array_equal(trial.ends, np.repeat(trial.goal[None], len(trial.ends), axis=0))


@given(arrays(np.float64, (3, 4, 6), elements=st.floats(-0.2, 0.2)), arrays(np.float64, 3, elements=st.floats(-0.4, 0.4)))
def test_no_sequence_leaves_the_box_and_none_inside_is_changed(deltas: np.ndarray, start: np.ndarray) -> None:
    low, high = np.full(3, -0.3), np.full(3, 0.3)
    actions = np.concatenate([deltas, np.zeros((3, 4, 1))], axis=2)
    far = replace(SMALL, step=1.0, turn=1.0)  # no draw is that long: the walls alone can cut
    kept = bounds(far, 1, tuple(low), tuple(high)).feasible(actions, ToolState(start, DOWN, 0.0))[..., :6]
    path = start + np.cumsum(kept[:, :, :3], axis=1)
    assert (path >= np.minimum(low, start) - 1e-9).all()
    assert (path <= np.maximum(high, start) + 1e-9).all()
    free = start + np.cumsum(deltas[:, :, :3], axis=1)
    inside = ((free >= low) & (free <= high)).all(axis=(1, 2)) & bool(((start >= low) & (start <= high)).all())
    np.testing.assert_allclose(kept[inside], deltas[inside], atol=1e-12)
    np.testing.assert_array_equal(kept[..., 3:], deltas[..., 3:])


def test_actions_keep_the_largest_step_and_share_what_was_asked() -> None:
    config = replace(SMALL, candidates=4000, horizon=2, shared=0.7, step=0.1, turn=0.5)
    drawn = draw_candidates(config, 4000, np.full(6, 0.01), np.random.default_rng(0))
    common = np.mean(drawn[:, 0] * drawn[:, 1]) / np.mean(drawn[:, 0] ** 2)
    assert common == pytest.approx(0.7, abs=0.02)
    for commands in (1, 2):
        asked = draw_candidates(config, 200, np.full(6, 0.01), np.random.default_rng(0))
        small = bounds(replace(config, step=0.005, turn=0.004), commands, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
        short = small.feasible(np.concatenate([asked, np.zeros((200, 2, 1))], axis=2), ToolState(np.zeros(3), DOWN, 0.0))
        assert np.linalg.norm(short[..., :3], axis=-1).max() == pytest.approx(commands * 0.005)
        assert np.linalg.norm(short[..., 3:6], axis=-1).max() == pytest.approx(commands * 0.004)


@pytest.mark.parametrize("fps", [3.0, 20.0, 7.5])
def test_a_rate_that_does_not_divide_the_commands_is_refused(fps: float, arm: SimConfig) -> None:
    with pytest.raises(ConfigurationError, match="10 Hz"):
        next(trials(SMALL, arm, SPREAD, fps))


@pytest.mark.parametrize("spread", [np.full(6, np.nan), np.full(6, -1.0), np.zeros(5)])
def test_a_spread_that_is_none_is_refused(spread: np.ndarray, arm: SimConfig) -> None:
    with pytest.raises(ConfigurationError):
        next(trials(SMALL, arm, spread, 10.0))
