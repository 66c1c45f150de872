"""Protects the terms of the cost and the noise of the search against their closed forms, and the splitting of plans into control steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pose_problem import LIMITS, SECONDS

from wm_core.errors import PlanningError
from wm_core.planning import rotations
from wm_core.planning.cost import TERMS, Candidates, Cost, CostWeights
from wm_core.planning.noise import coloured
from wm_core.planning.plan import controls, rest

ONES = CostWeights(1.0, 1.0, 1.0, 1.0, 1.0)
LONGEST = 0.25 * SECONDS


def candidates(actions: np.ndarray, before: np.ndarray | None = None) -> Candidates:
    count = len(actions)
    return Candidates(actions, np.zeros(7) if before is None else before, np.arange(count) * 1.0, np.full(count, 0.5))


def test_terms_have_their_closed_forms() -> None:
    actions = np.zeros((2, 3, 7))
    actions[1, :, 0] = LONGEST  # full speed along x
    terms = Cost(ONES, LIMITS, SECONDS).terms(candidates(actions))
    assert set(terms) == set(TERMS)
    np.testing.assert_allclose(terms["goal"], [0.0, 1.0])
    np.testing.assert_allclose(terms["uncertainty"], 0.5)
    np.testing.assert_allclose(terms["effort"], [0.0, 1.0])
    np.testing.assert_allclose(terms["terminal_speed"], [0.0, 1.0])
    np.testing.assert_allclose(terms["smoothness"], [0.0, 1.0 / 3.0])  # one jump, from standing still, over three steps


def test_going_on_as_before_is_smooth() -> None:
    actions = np.zeros((1, 3, 7))
    actions[..., 0] = LONGEST
    before = actions[0, 0]
    assert Cost(ONES, LIMITS, SECONDS).terms(candidates(actions, before))["smoothness"][0] == pytest.approx(0.0)


def test_a_weight_of_nothing_leaves_its_term_out() -> None:
    terms = Cost(CostWeights(2.0, 0.0, 0.0, 0.0, 0.0), LIMITS, SECONDS).terms(candidates(np.zeros((2, 3, 7))))
    assert list(terms) == ["goal"]
    np.testing.assert_allclose(terms["goal"], [0.0, 2.0])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("horizon", [1, 4, 5, 8])
def test_noise_of_any_colour_has_unit_deviation(exponent: float, horizon: int) -> None:
    noise = coloured((4000, horizon, 3), exponent, np.random.default_rng(0))
    assert noise.shape == (4000, horizon, 3)
    assert abs(noise.mean()) < 0.03
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.06)


def test_colour_makes_neighbours_alike() -> None:
    noises = [coloured((3000, 8, 1), exponent, np.random.default_rng(0))[..., 0] for exponent in (0.0, 1.0, 3.0)]
    alike = [np.mean(noise[:, 1:] * noise[:, :-1]) for noise in noises]
    assert abs(alike[0]) < 0.03
    assert alike[0] + 0.1 < alike[1] < alike[2] - 0.1


@given(arrays(np.float64, (3, 7), elements=st.floats(-0.3, 0.3)), st.integers(1, 6))
def test_control_steps_lead_where_their_step_leads(actions: np.ndarray, chunk: int) -> None:
    short = controls(actions, chunk)
    assert short.shape == (3 * chunk, 7)
    np.testing.assert_allclose(short[:, :3].sum(axis=0), actions[:, :3].sum(axis=0), atol=1e-12)
    turned = [np.array([[1.0, 0.0, 0.0, 0.0]])] * 2
    for index, sequence in enumerate((actions, short)):
        for action in sequence:
            turned[index] = rotations.product(rotations.of_vectors(action[None, 3:6]), turned[index])
    np.testing.assert_allclose(turned[0], turned[1], atol=1e-9)
    np.testing.assert_array_equal(short[::chunk, 6], actions[:, 6])


def test_a_step_of_no_control_is_refused() -> None:
    with pytest.raises(PlanningError, match=r"control\.rate"):
        controls(np.zeros((2, 7)), 0)


def test_what_is_left_of_a_plan_ends_in_stillness() -> None:
    actions = np.zeros((3, 7))
    actions[:, 0], actions[:, 6] = [1.0, 2.0, 3.0], 0.7
    np.testing.assert_allclose(rest(actions, 0.0), actions)
    np.testing.assert_allclose(rest(actions, 1.0)[:, 0], [2.0, 3.0, 0.0])
    np.testing.assert_allclose(rest(actions, 0.5)[:, 0], [1.5, 2.5, 1.5])
    np.testing.assert_allclose(rest(actions, 9.0)[:, 0], 0.0)
    np.testing.assert_allclose(rest(actions, 2.0)[:, 6], 0.7)
