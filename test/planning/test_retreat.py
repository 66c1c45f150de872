"""Protects the way back: what was seen to be near is not left again for what is only imagined to be nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from followed_world import PURSUIT, SeeingPose, World
from hypothesis import given
from hypothesis import strategies as st
from pose_problem import GOAL, LIMITS, SECONDS, START, PoseEvaluator, end, search

from wm_core.planning import rotations
from wm_core.planning.bounds import ToolState
from wm_core.planning.controller import Mission
from wm_core.planning.retreat import Apart, Place, RetreatConfig, nearest
from wm_core.planning.scores import Scores
from wm_core.planning.search import Problem
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


@pytest.mark.parametrize("review", [0, 6])
@pytest.mark.parametrize(("worth", "retreats"), [(0.0001, False), (0.01, True)])
def test_a_plan_is_followed_only_for_what_it_is_worth(review: int, worth: float, retreats: bool) -> None:
    """5 cm from the goal a plan gains 0.0025 m2 at most."""
    start = ToolState(GOAL.position + np.array((0.0, 0.05, 0.0)), DOWN, 1.0)
    evaluator, searching = PoseEvaluator(GOAL, start), replace(search(review=review), retreat=RetreatConfig(worth, NEAR))
    place = Place(pose(start.position + np.array((0.01, 0.0, 0.0))), 0.002)
    problem = Problem(start, STILL, 0.5, None, place)
    plan = searching.run(problem, evaluator, np.random.default_rng(0), lambda: 0.0, 1.0)
    assert plan.retreats is retreats
    aim = place.pose[:3, 3] if retreats else GOAL.position
    np.testing.assert_allclose(end(plan.actions[None], start)[0][0], aim, atol=1e-9 if retreats else 0.02)
    assert plan.cost == pytest.approx(evaluator.costs(plan.actions[None])[0] / 0.5)


def test_without_a_place_nothing_is_held_back() -> None:
    searching = replace(search(), retreat=RetreatConfig(1e3, NEAR))
    plan = searching.run(Problem(START, STILL, 0.1), PoseEvaluator(GOAL), np.random.default_rng(0), lambda: 0.0, 1.0)
    assert not plan.retreats
    assert np.abs(plan.actions[:, :3]).max() > 0.01


class Mirage(SeeingPose):
    """A model that imagines the goal 4 cm beyond where it is seen to be."""

    def evaluate(self, actions: Array, fidelity) -> Scores:  # type: ignore[no-untyped-def]
        way = START.position - self.goal
        self.goal = self.goal - 0.04 * way / np.linalg.norm(way)
        scores = super().evaluate(actions, fidelity)
        self.goal = GOAL.position
        return scores


@pytest.mark.parametrize(("worth", "low", "high"), [(0.0, 0.03, 0.05), (0.003, 0.0, 0.015)])
def test_an_arm_that_passed_its_goal_comes_back_when_that_was_only_imagined_to_be_right(worth: float, low: float, high: float) -> None:
    world = World(plan_seconds=0.1)
    drafter = world.controller.drafter
    world.controller.drafter = replace(drafter, search=replace(drafter.search, retreat=RetreatConfig(worth, Apart(0.002, 0.02))))
    world.begin(Mission("goal", Mirage(world, GOAL.position), replace(PURSUIT, tolerance=0.0, near=0.0, patience=8.0)))
    world.run(8.0)
    assert low <= np.linalg.norm(world.position - GOAL.position) <= high
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
