"""Protects the doubt that refuses a scene: futures that disagree count, and so does a past that was not as the model imagines it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.planning.doubt import HINDSIGHT, doubt
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity
from wm_core.world_model.calibration import Calibration
from wm_core.world_model.world_model import WorldModel

from test_model_evaluator import GRID, candidates, goal, seen, world_model  # isort: skip

BAND = 0.05
FUTURE = candidates(1)[0]


def calibrated(spread: float, band: float = BAND) -> WorldModel:
    model, five = world_model(), (0.1,) * 5
    model.calibration = Calibration(model.hash, GRID, 4, 3, 5, 0.9, "error", (band,) * 5, five, (spread,) * 5, 20, 4)
    return model


def as_imagined(model: WorldModel, told: Seen) -> Seen:
    """The same, had the newest frames been what the model makes of those before."""
    judge = ModelEvaluator(model, goal(), GoalDistance(0.0), {"review": Fidelity(0, 4, 3)})
    judge.see(replace(told, latents=told.latents[:-HINDSIGHT], actions=told.actions[:-HINDSIGHT], known=told.known[:-HINDSIGHT]))
    imagined = judge.imagine(told.actions[-HINDSIGHT:].double().numpy()[None], "review")[:, 0].mean(0)
    return replace(told, latents=torch.cat([told.latents[:-HINDSIGHT], imagined]))


def past_alone(model: WorldModel, told: Seen) -> float:
    """The doubt of a model whose futures may lie apart as they like."""
    found = doubt(model, goal(), told, FUTURE)
    assert found is not None
    return found


@settings(max_examples=10)
@given(off=st.floats(0.1, 3.0), which=st.integers(1, HINDSIGHT))
def test_frames_that_are_off_what_was_imagined_count_in_half_widths_of_the_band(off: float, which: int) -> None:
    model = calibrated(spread=1e6)
    told = as_imagined(model, seen())
    assert past_alone(model, told) == pytest.approx(0.0, abs=1e-4)
    told.latents[-which] += off * BAND * torch.tensor([2.0, 0.5, 1.0])  # the deviations of the model's own statistics
    assert past_alone(model, told) == pytest.approx(off, rel=1e-3)


def test_the_larger_of_future_and_past_counts() -> None:
    alone = doubt(calibrated(spread=0.01, band=1e6), goal(), seen(), FUTURE)
    assert alone is not None
    assert alone > 0.1
    past = past_alone(calibrated(spread=1e6), seen())
    assert doubt(calibrated(spread=0.01), goal(), seen(), FUTURE) == pytest.approx(max(alone, past))


def test_a_past_that_is_not_known_is_not_held_against_the_model() -> None:
    model, told = calibrated(spread=1e6), seen()
    assert past_alone(model, told) > 1.0
    hidden = replace(told, known=torch.tensor([True, True, False, True]))
    assert past_alone(model, hidden) < 1e-3
    older = replace(told, known=torch.tensor([False, True, True, True]))
    assert past_alone(model, older) > 1.0, "only what is imagined must be known"
    short = replace(told, latents=told.latents[-2:], actions=told.actions[-1:], known=told.known[-1:])
    assert past_alone(model, short) < 1e-3


def test_a_model_without_bands_has_no_doubt() -> None:
    assert doubt(world_model(), goal(), seen(), FUTURE) is None
