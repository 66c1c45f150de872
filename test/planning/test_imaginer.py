"""Protects the answers of a rollout server: from the frames that were meant, with the evaluator's own scores, and nothing else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wm_core.errors import GoalError, PlanningError
from wm_core.planning.doubt import doubt
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.history import History, Reading
from wm_core.planning.imaginer import ContextError, Imaginer, Question, ripe, seen_at
from wm_core.planning.model_evaluator import ModelEvaluator
from wm_core.planning.scores import Fidelity
from wm_core.world_model.calibration import Calibration

from test_model_evaluator import DIM, candidates, goal, seen, world_model  # isort: skip

STEP = 0.2
NONE_UNDER_WAY = np.zeros((0, 7))


def held(frames: int, readings: int) -> History:
    """Frame t is full of t; the tool is at t / 10 m."""
    history = History(60.0)
    for index in range(frames):
        history.see(1000.0 + STEP * index, torch.full((16, DIM), float(index)))
    for index in range(readings):
        pose = np.eye(4)
        pose[0, 3] = 0.1 * index
        history.feel(Reading(1000.0 + STEP * index, pose, 1.0))
    return history


@given(count=st.integers(1, 9), back=st.integers(0, 8), frames=st.integers(1, 5))
def test_a_context_ends_with_the_frame_that_is_named(count: int, back: int, frames: int) -> None:
    newest = max(0, count - 1 - back)
    told = seen_at(held(count, count), 1000.0 + STEP * newest, frames, STEP, NONE_UNDER_WAY)
    numbers = told.latents[:, 0, 0].tolist()
    assert numbers == [float(index) for index in range(max(0, newest + 1 - frames), newest + 1)]
    assert told.known.all()
    np.testing.assert_allclose(told.actions[:, 0], 0.1, rtol=1e-5)
    assert seen_at(held(count, count), None, frames, STEP, NONE_UNDER_WAY).stamp == 1000.0 + STEP * (count - 1)


def test_a_context_that_is_not_held_is_missing() -> None:
    for history, stamp in ((History(60.0), None), (History(60.0), 1000.0), (held(3, 3), 999.0), (held(3, 3), 1000.1), (held(3, 3), 1009.0)):
        with pytest.raises(ContextError):
            seen_at(history, stamp, 5, STEP, NONE_UNDER_WAY)


def test_a_frame_is_ripe_when_the_reading_beside_it_is_there() -> None:
    stamp = 1000.0 + STEP * 2
    assert not ripe(held(2, 3), stamp, with_reading=True)
    assert not ripe(held(3, 2), stamp, with_reading=True)
    assert ripe(held(3, 3), stamp, with_reading=True)
    assert ripe(held(3, 0), stamp, with_reading=True)  # nobody tells where the arm is: it is not waited for
    assert ripe(held(3, 2), stamp, with_reading=False)


def question(**changes: object) -> Question:
    return replace(Question(candidates(), goal(), 0.3, 7, Fidelity(0, 4, 3), frames=True), **changes)  # type: ignore[arg-type]


def test_questions_that_take_turns_get_the_answers_of_an_evaluator_of_their_own() -> None:
    model = world_model()
    imaginer = Imaginer(model)
    asked = [question(seed=seed, fidelity=Fidelity(grid, 1, 2)) for seed in (1, 2, 3) for grid in (0, 1)]
    first = [imaginer.answer(one, seen()) for one in asked]
    for one, answer in zip(asked, first, strict=True):
        again = imaginer.answer(one, seen())
        own = ModelEvaluator(model, goal(), distance_of(one), {"search": one.fidelity}, one.seed)
        own.see(seen())
        expected = own.evaluate(one.actions, "search")
        for told in (answer, again):
            assert told.scores is not None
            assert told.frames is not None
            np.testing.assert_array_equal(told.scores.goal, expected.goal)
            np.testing.assert_array_equal(told.scores.uncertainty, expected.uncertainty)
            torch.testing.assert_close(told.frames, own.imagine(one.actions, "search"))
            assert told.distance == own.distance()


def distance_of(one: Question) -> GoalDistance:
    return GoalDistance(one.discount)


def test_what_is_left_out_is_not_made() -> None:
    imaginer = Imaginer(world_model())
    told = imaginer.answer(question(goal=None), seen())
    assert (told.distance, told.scores) == (None, None)
    assert told.frames is not None
    assert told.frames.shape == (3, 6, 3, 16, DIM)
    only = imaginer.answer(question(actions=np.zeros((0, 0, 7))), seen())
    assert (only.scores, only.frames) == (None, None)
    assert only.distance is not None
    own = imaginer.answer(question(fidelity=Fidelity(0, 0, 1)), seen()).frames  # the model's own number of steps
    torch.testing.assert_close(own, imaginer.answer(question(fidelity=Fidelity(0, 4, 1)), seen()).frames)


def test_the_first_candidate_is_doubted_by_the_models_own_bands_where_that_is_asked() -> None:
    model, one = world_model(), seen(committed=2)
    imaginer = Imaginer(model)
    assert imaginer.answer(question(doubt=True), one).doubt is None, "a model without bands"
    five = (0.1,) * 5
    model.calibration = Calibration(model.hash, (2, 2), 4, 3, 5, 0.9, "error", five, five, five, 20, 4)
    expected = doubt(model, goal(), one, candidates()[0])
    assert expected is not None
    assert imaginer.answer(question(), one).doubt is None, "nobody asked"
    for aim in (goal(), None):
        assert imaginer.answer(question(doubt=True, frames=False, goal=aim), one).doubt == pytest.approx(expected)


def test_a_goal_of_another_kind_is_refused_even_where_its_numbers_were_known() -> None:
    imaginer = Imaginer(world_model())
    imaginer.answer(question(), seen())
    with pytest.raises(GoalError, match="another encoder"):
        imaginer.answer(question(goal=goal(encoder_hash="b" * 64)), seen())
    with pytest.raises(GoalError, match="another grid"):
        imaginer.answer(question(goal=replace(goal(), grid=(2, 8))), seen())


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"actions": np.full((1, 2, 7), np.nan)}, "not finite"), ({"discount": 2.0}, "discount"), ({}, "too much")],
)
def test_questions_that_make_no_sense(changes: dict[str, object], words: str) -> None:
    with pytest.raises(PlanningError, match=words):
        question(**changes).require_sane(largest=50)
    question(discount=1.0).require_sane(largest=6 * 3 * 3)
