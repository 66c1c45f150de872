"""Protects the metrics: models that are wrong in known ways get the numbers that follow from how they are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known_world import GRID, KnownModel, clips

from wm_core.evaluation.action_response import ActionResponse, action_response, sequences
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.imagined import Draw, measure, others, recorded, still, swapped
from wm_core.evaluation.latent_error import LatentError, latent_error
from wm_core.evaluation.sampling_steps import sampling_steps

DRAW = Draw(seeds=4, steps=4, grid=GRID, at_once=1_000_000)
HORIZON = 5
HELD_OUT = clips(400, HORIZON, per_episode=2)


def error_of(model: KnownModel) -> LatentError:
    return latent_error(measure(model, HELD_OUT, recorded(HELD_OUT), DRAW), DRAW, HELD_OUT.context)


def response_of(model: KnownModel) -> ActionResponse:
    return action_response(measure(model, HELD_OUT, sequences(HELD_OUT, 0), DRAW), DRAW)


def test_the_error_of_a_right_model_is_its_noise_and_copying_drifts_as_the_pushes_do() -> None:
    error = error_of(KnownModel(noise=0.5))
    for horizon in range(HORIZON):
        assert error.model[horizon].value == pytest.approx(0.25 / 4, rel=0.1)
        assert error.single[horizon].value == pytest.approx(0.25, rel=0.1)
        assert error.copy[horizon].value == pytest.approx(horizon + 1, rel=0.25)
        assert error.ratio[horizon].value == pytest.approx(error.model[horizon].value / error.copy[horizon].value)
    assert (error.clips, error.episodes, error.context, error.seeds) == (400, 200, 6, 4)


def test_a_model_that_ignores_actions_is_no_better_than_copying_and_has_no_gain() -> None:
    model = KnownModel(response=0.0)
    assert [part.value for part in error_of(model).ratio] == pytest.approx([1.0] * HORIZON)
    response = response_of(model)
    for part in (*response.gain, *response.null, response.gain_overall):
        assert (part.value, part.low, part.high) == pytest.approx((1.0, 1.0, 1.0))
    assert response.deviation_overall.value == 0.0


def test_a_right_model_moves_as_far_as_the_world_and_gains_from_knowing_what_is_done() -> None:
    response = response_of(KnownModel(noise=0.5))
    assert response.deviation_overall.value == pytest.approx(1.0, abs=1e-5)
    for horizon in range(HORIZON):
        # Two independent sums of h pushes are 2 h apart, an unknown one is h away from none; the noise adds its share to both.
        assert response.gain[horizon].value == pytest.approx(1.0 + 2 * (horizon + 1) / (0.25 / 4), rel=0.25)
        assert response.null[horizon].value == pytest.approx(1.0 + (horizon + 1) / (0.25 / 4), rel=0.25)


def test_a_model_that_does_half_of_what_it_is_told_shows_a_quarter_of_the_deviation() -> None:
    model = KnownModel(response=0.5)
    assert response_of(model).deviation_overall.value == pytest.approx(0.25, abs=1e-5)
    assert [part.value for part in error_of(model).ratio] == pytest.approx([0.25] * HORIZON, abs=1e-4)


def test_fewer_steps_are_held_against_the_most() -> None:
    ticks = iter(range(100))
    found = sampling_steps(KnownModel(bias=1.0), HELD_OUT, (4, 1, 2), DRAW, lambda: float(next(ticks)))
    assert [row.steps for row in found.rows] == [1, 2, 4]
    assert [row.overall.value for row in found.rows] == pytest.approx([16.0, 4.0, 1.0], rel=1e-3)
    four = found.at(4)
    assert four is not None
    assert four.seconds_per_frame == pytest.approx(1.0 / (400 * HORIZON * 4))
    assert found.at(8) is None
    assert found.held_against_more(2) == found.rows[1].overall
    assert found.held_against_more(4) is None, "the largest would be held against itself"
    assert found.held_against_more(8) is None


def test_the_spread_is_the_deviation_between_seeds_on_any_grid() -> None:
    for grid in (GRID, (1, 1)):
        errors = measure(KnownModel(noise=0.5), HELD_OUT, recorded(HELD_OUT), Draw(16, 4, grid, 1_000_000))
        assert math.sqrt(np.square(errors.spread).mean()) == pytest.approx(0.5, rel=0.05)


def test_how_many_futures_are_drawn_at_once_changes_nothing() -> None:
    one, many = (measure(KnownModel(response=0.7), HELD_OUT, sequences(HELD_OUT, 1), Draw(2, 4, GRID, size)) for size in (1, 4096))
    for name in ("model", "single", "apart", "copy"):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), rtol=1e-5)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(0, 5))
def test_swapped_actions_come_from_another_episode_and_each_is_used_once(sizes: list[int], seed: int) -> None:
    episodes = np.repeat(np.arange(len(sizes)), sizes)
    if 2 * max(sizes) > len(episodes):
        with pytest.raises(EvaluationError, match="too many of the clips"):
            others(episodes, seed)
        return
    chosen = others(episodes, seed)
    assert np.all(episodes[chosen] != episodes)
    assert sorted(chosen.tolist()) == list(range(len(episodes)))


def test_standing_still_keeps_the_gripper_and_moves_nothing_else() -> None:
    held_out = clips(3, HORIZON)
    held_out.actions[..., 6] = torch.arange(held_out.actions.shape[1]) / 100.0
    quiet = still(held_out).actions
    assert quiet[..., :6].abs().max() == 0.0
    # What was commanded last before the future begins: the action that led into the last seen frame.
    assert torch.equal(quiet[..., 6], torch.full((3, 1, HORIZON), (held_out.context - 2) / 100.0))
    assert torch.equal(swapped(held_out, 0).actions.sort(0).values, recorded(held_out).actions.sort(0).values)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(EvaluationError, match="not finite"):
        error_of(KnownModel(noise=math.nan))


def test_clips_in_which_nothing_moves_are_refused() -> None:
    moving = clips(20, 3)
    moving.actions[:] = 0.0
    held_out = replace(moving, stored=lambda episode, rows: moving.stored(episode, rows[:1]).repeat(len(rows), axis=0))
    errors = measure(KnownModel(noise=0.1), held_out, recorded(held_out), DRAW)
    with pytest.raises(EvaluationError, match="nothing to compare"):
        latent_error(errors, DRAW, held_out.context)
