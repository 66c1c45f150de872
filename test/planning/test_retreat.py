"""Protects the way back: what was seen to be near is not left again for what is only imagined to be nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from followed_world import PURSUIT, SeeingPose, World
from hypothesis import given
from hypothesis import strategies as st
from pose_problem import GOAL, LIMITS, SECONDS, START, PoseEvaluator, end, search

from wm_core.planning import rotations
from wm_core.planning.bounds import ToolState
from wm_core.planning.controller import Mission
from wm_core.planning.retreat import Apart, Place, RetreatConfig, nearest
from wm_core.planning.search import Problem
from wm_core.planning.witness import Witness
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array, quaternion

STILL, NEAR = np.zeros(7), Apart(0.01, 0.02)
offset = st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(np.array)


def pose(position: Array) -> Array:
    return rotation.pose(position, DOWN)


@given(offset, offset, st.integers(1, 8))
def test_the_way_back_leads_there_in_steps_that_are_allowed(shift: Array, turn: Array, horizon: int) -> None:
    place = Place(rotation.pose(START.position + shift, rotation.matrix(turn) @ DOWN), 0.1)
    way = place.way_back(START, horizon, LIMITS, SECONDS)
    reach, twist = horizon * LIMITS.linear_speed * SECONDS, horizon * LIMITS.angular_speed * SECONDS
    assert (np.linalg.norm(way[:, :3], axis=1) <= LIMITS.linear_speed * SECONDS + 1e-9).all()
    assert (np.linalg.norm(way[:, 3:6], axis=1) <= LIMITS.angular_speed * SECONDS + 1e-9).all()
    assert (way[:, 6] == START.gripper).all()
    position, turned = end(way[None], START)
    left = place.pose[:3, 3] - position[0]
    assert np.linalg.norm(left) == pytest.approx(max(0.0, np.linalg.norm(shift) - reach), abs=1e-9)
    away = rotations.vectors(rotations.product(quaternion(place.pose[:3, :3])[None], rotations.inverse(turned)))
    assert np.linalg.norm(away) == pytest.approx(max(0.0, np.linalg.norm(turn) - twist), abs=1e-6)


def test_the_nearest_place_is_kept_and_is_what_it_looks_like_now() -> None:
    first = nearest(None, pose(START.position), 0.5, NEAR)
    nearer = nearest(first, pose(START.position + 0.1), 0.2, NEAR)
    assert nearer.distance == 0.2
    assert nearest(nearer, pose(START.position), 0.3, NEAR) is nearer
    again = nearest(nearer, pose(START.position + 0.1 + 0.002), 0.4, NEAR)
    assert again.distance == 0.4
    assert nearest(again, pose(START.position), 0.3, NEAR).distance == 0.3


def test_a_tool_that_turns_on_the_spot_is_elsewhere() -> None:
    place = nearest(None, pose(START.position), 0.2, NEAR)
    turned = rotation.pose(START.position, rotation.matrix(np.array((0.0, 0.0, 0.1))) @ DOWN)
    assert nearest(place, turned, 0.3, NEAR) is place


def test_an_arm_that_leaves_slowly_does_not_take_the_place_along() -> None:
    place = nearest(None, pose(START.position), 0.2, NEAR)
    for step in range(20):
        place = nearest(place, pose(START.position + np.array((0.004 * step, 0.0, 0.0))), 0.2 + 0.01 * step, NEAR)
    np.testing.assert_allclose(place.pose[:3, 3], START.position)
    assert place.distance < 0.25


@given(offset, offset)
def test_a_way_that_arrives_is_a_witness_and_no_other(shift: Array, turn: Array) -> None:
    seen = torch.randn(2, 3)
    place = Place(rotation.pose(START.position + shift, rotation.matrix(turn) @ DOWN), 0.1, seen)
    way = place.way_back(START, 8, LIMITS, SECONDS)
    steps = max(np.linalg.norm(shift) / (LIMITS.linear_speed * SECONDS), np.linalg.norm(turn) / (LIMITS.angular_speed * SECONDS))
    found = place.witness(way, START, Apart(1e-6, 1e-5))
    if steps > 8.001:
        assert found is None
    elif steps < 7.999:
        assert found is not None
        assert found.arrived == max(0, int(np.ceil(steps - 1e-4)) - 1)
        assert found.seen is seen
        assert replace(place, seen=None).witness(way, START, Apart(1e-6, 1e-5)) is None


def test_what_a_witness_shows_to_be_wrong() -> None:
    seen, imagined = torch.tensor([[1.0, 2.0]]), torch.tensor([[[9.0, 9.0]], [[1.5, 2.0]], [[1.0, 1.0]]])
    wrong = Witness(np.zeros((3, 7)), 1, seen).wrong(imagined)
    torch.testing.assert_close(wrong, torch.tensor([[[0.5, 0.0]], [[0.5, 0.0]], [[0.0, -1.0]]]))
    torch.testing.assert_close(imagined[0], torch.tensor([[9.0, 9.0]]))


@pytest.mark.parametrize("review", [0, 6])
@pytest.mark.parametrize(("worth", "retreats"), [(0.0001, False), (0.01, True)])
def test_a_plan_is_followed_only_for_what_it_is_worth(review: int, worth: float, retreats: bool) -> None:
    """5 cm from the goal a plan gains 0.0025 m2 at most."""
    start = ToolState(GOAL.position + np.array((0.0, 0.05, 0.0)), DOWN, 1.0)
    evaluator, searching = PoseEvaluator(GOAL, start), replace(search(review=review), retreat=RetreatConfig(worth, NEAR, False))
    place = Place(pose(start.position + np.array((0.01, 0.0, 0.0))), 0.002)
    problem = Problem(start, STILL, 0.5, None, place)
    plan = searching.run(problem, evaluator, np.random.default_rng(0), lambda: 0.0, 1.0)
    assert plan.retreats is retreats
    aim = place.pose[:3, 3] if retreats else GOAL.position
    np.testing.assert_allclose(end(plan.actions[None], start)[0][0], aim, atol=1e-9 if retreats else 0.02)
    assert plan.cost == pytest.approx(evaluator.costs(plan.actions[None])[0] / 0.5)


def test_without_a_place_nothing_is_held_back() -> None:
    searching = replace(search(), retreat=RetreatConfig(1e3, NEAR, False))
    plan = searching.run(Problem(START, STILL, 0.1), PoseEvaluator(GOAL), np.random.default_rng(0), lambda: 0.0, 1.0)
    assert not plan.retreats
    assert np.abs(plan.actions[:, :3]).max() > 0.01


@pytest.mark.parametrize(
    ("worth", "corrects", "low", "high"), [(0.0, False, 0.03, 0.05), (0.003, False, 0.0, 0.015), (0.0, True, 0.0, 0.003)]
)
def test_a_model_that_imagines_its_goal_elsewhere(worth: float, corrects: bool, low: float, high: float) -> None:
    """An arm that is led 4 cm beyond its goal comes back to where it was seen to be nearer, and with what it knows there, to the goal."""
    world = World(plan_seconds=0.1)
    drafter, model = world.controller.drafter, SeeingPose(world, GOAL.position)
    retreat = RetreatConfig(worth, Apart(0.002, 0.02), corrects)
    world.controller.drafter = replace(drafter, search=replace(drafter.search, retreat=retreat))
    model.off = 0.04 * (START.position - GOAL.position) / np.linalg.norm(START.position - GOAL.position)
    world.begin(Mission("goal", model, replace(PURSUIT, tolerance=0.0, near=0.0, patience=8.0)))
    world.run(8.0)
    assert low <= np.linalg.norm(world.position - GOAL.position) <= high
    if not corrects:
        assert ("back to the nearest place seen" in world.controller.report.text) is (worth > 0.0)


def test_what_is_measured_when_a_frame_was_taken_is_what_a_place_is_made_of() -> None:
    world = World(plan_seconds=0.1)
    world.advance(0.5)
    view = world.sight.view()
    assert view.tool is not None
    np.testing.assert_allclose(view.tool[:3, 3], world.at(view.history.newest), atol=1e-9)
    place = world.controller.drafter.nearest(None, view, 0.3)
    assert place is not None
    assert place.distance == 0.3
    assert world.controller.drafter.rests(place, view)
    blind = replace(view, tool=None)
    assert world.controller.drafter.nearest(place, blind, 0.1) is place
    assert not world.controller.drafter.rests(place, blind)
