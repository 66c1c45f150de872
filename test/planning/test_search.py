"""Protects the search: it finds the known best plan, obeys the bounds, keeps its deadline, and repeats itself exactly."""

from __future__ import annotations

import numpy as np
import pytest
from pose_problem import GOAL, LIMITS, SECONDS, START, PoseEvaluator, end, search

from wm_core.errors import PlanningError
from wm_core.planning.bounds import ToolState
from wm_core.planning.plan import Plan
from wm_core.planning.scores import Scores
from wm_core.planning.search import Problem
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN

STILL = np.zeros(7)


def run(searching, evaluator, guess=None, seed=0, clock=lambda: 0.0, deadline=1.0, start=START, careful=None) -> Plan:
    problem = Problem(start, STILL, evaluator.distance(), guess)
    return searching.run(problem, evaluator, np.random.default_rng(seed), clock, deadline, careful)


@pytest.mark.parametrize("changes", [{}, {"method": "mppi", "iterations": 8}, {"colour": 0.0}, {"keep": 0, "momentum": 0.0}])
def test_it_goes_where_the_goal_is(changes: dict) -> None:
    for seed in range(5):
        evaluator = PoseEvaluator(GOAL)
        plan = run(search(**changes), evaluator, seed=seed)
        position, _ = end(plan.actions[None], START)
        assert np.linalg.norm(position[0] - GOAL.position) < 0.25 * np.linalg.norm(START.position - GOAL.position)
        assert plan.cost == pytest.approx(np.square(position[0] - GOAL.position).sum() / evaluator.distance())


def test_a_rotation_is_planned_too() -> None:
    turned = ToolState(START.position, rotation.matrix(np.array([0.1, -0.15, 0.4])) @ DOWN, 1.0)
    plan = run(search(rotation=0.5, translation=0.1, iterations=8, samples=128), PoseEvaluator(turned, turning=1.0))
    _, orientation = end(plan.actions[None], START)
    reached = rotation.from_quaternion(orientation[0])
    assert np.linalg.norm(rotation.vector(reached @ turned.rotation.T)) < 0.12  # from 0.44


def test_a_goal_out_of_reach_is_approached_at_full_speed() -> None:
    far = ToolState(np.array([0.5, 0.29, 0.2]), DOWN, 1.0)
    plan = run(search(iterations=6), PoseEvaluator(far))
    assert plan.actions[:, 1].sum() > 0.8 * 5 * LIMITS.linear_speed * SECONDS


def test_standing_still_is_best_at_the_goal() -> None:
    plan = run(search(effort=0.01), PoseEvaluator(ToolState(START.position + 1e-4, DOWN, 1.0)))
    assert np.abs(plan.actions[:, :6]).max() < 2e-3


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    first, again, other = (run(search(), PoseEvaluator(GOAL), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.actions, other.actions)


def test_a_guess_helps() -> None:
    cold = run(search(iterations=1), PoseEvaluator(GOAL))
    good = run(search(iterations=8, samples=256), PoseEvaluator(GOAL))
    warm = run(search(iterations=1), PoseEvaluator(GOAL), guess=good.actions)
    assert warm.cost <= good.cost < cold.cost


def test_every_candidate_is_within_the_bounds() -> None:
    evaluator = PoseEvaluator(GOAL)
    run(search(translation=5.0, rotation=2.0), evaluator)
    for _, actions in evaluator.asked:
        assert np.linalg.norm(actions[..., :3], axis=-1).max() <= LIMITS.linear_speed * SECONDS + 1e-12
        path = START.position + np.cumsum(actions[..., :3], axis=1)
        assert (path >= np.array(LIMITS.low) - 1e-12).all()
        assert (path <= np.array(LIMITS.high) + 1e-12).all()


def test_without_a_turn_or_a_grip_neither_is_asked_for() -> None:
    plan = run(search(), PoseEvaluator(GOAL))
    assert not plan.actions[:, 3:6].any()
    assert (plan.actions[:, 6] == START.gripper).all()


@pytest.mark.parametrize(("deadline", "iterations"), [(0.0, 1), (2.9, 1), (6.0, 2), (20.0, 6), (1e3, 50)])
def test_no_iteration_begins_that_would_end_too_late(deadline: float, iterations: int) -> None:
    class Slow(PoseEvaluator):
        """Each answer takes three seconds."""

        time = 0.0

        def evaluate(self, actions, fidelity):
            self.time += 3.0
            return super().evaluate(actions, fidelity)

    evaluator = Slow(GOAL)
    plan = run(search(iterations=50), evaluator, clock=lambda: evaluator.time, deadline=deadline)
    assert (plan.iterations, plan.seconds) == (iterations, 3.0 * iterations)


class Heavy(PoseEvaluator):
    """A quick look takes three seconds, a careful one as long as it is told."""

    def __init__(self, careful: float) -> None:
        super().__init__(GOAL)
        self.time, self.careful = 0.0, careful

    def evaluate(self, actions, fidelity):
        self.time += 3.0 if fidelity == "search" else self.careful
        return super().evaluate(actions, fidelity)


@pytest.mark.parametrize(
    ("known", "deadline", "iterations", "reviewed"),
    [(None, 5.9, 1, False), (None, 6.0, 1, True), (None, 20.0, 5, True), (8.0, 20.0, 4, True), (8.0, 11.0, 1, True), (8.0, 10.9, 3, False)],
)
def test_iterations_leave_time_for_the_careful_look_and_it_is_left_out_where_it_does_not_fit(
    known: float | None, deadline: float, iterations: int, reviewed: bool
) -> None:
    evaluator = Heavy(3.0 if known is None else known)
    plan = run(search(iterations=50, review=6), evaluator, clock=lambda: evaluator.time, deadline=deadline, careful=known)
    assert (plan.iterations, plan.reviewed) == (iterations, reviewed)
    assert plan.seconds <= deadline


def test_a_careful_look_that_was_held_up_is_measured_and_tried_again_in_the_end() -> None:
    evaluator, careful, plans = Heavy(60.0), None, []
    for _ in range(200):
        deadline = evaluator.time + 20.0
        plans.append(run(search(iterations=50, review=6), evaluator, clock=lambda: evaluator.time, deadline=deadline, careful=careful))
        careful, evaluator.careful = plans[-1].careful, 4.0
    assert plans[0].careful == 60.0
    assert [plan.reviewed for plan in plans[:10]] == [True, *[False] * 9]
    assert all(plan.reviewed and plan.careful == 4.0 for plan in plans[-10:])
    assert max(plan.seconds for plan in plans[1:]) <= 20.0


def test_the_best_of_any_iteration_is_the_plan() -> None:
    evaluator = PoseEvaluator(GOAL)
    plan = run(search(keep=0, momentum=0.0, smallest=1.0), evaluator)
    best = min(evaluator.evaluate(actions, "search").goal.min() for _, actions in list(evaluator.asked))
    assert plan.terms["goal"] == pytest.approx(best / evaluator.distance())


def test_the_review_has_the_last_word() -> None:
    class Contrary(PoseEvaluator):
        """The careful look finds those best that the quick one finds worst."""

        def evaluate(self, actions, fidelity):
            scores = super().evaluate(actions, fidelity)
            return Scores(-scores.goal, scores.uncertainty) if fidelity == "review" else scores

    plain, reviewed = PoseEvaluator(GOAL), Contrary(GOAL)
    first, second = run(search(), plain), run(search(review=6), reviewed)
    assert (first.reviewed, second.reviewed) == (False, True)
    seen = [actions for fidelity, actions in reviewed.asked if fidelity == "review"]
    assert [len(actions) for actions in seen] == [6]
    costs = PoseEvaluator(GOAL).evaluate(seen[0], "search").goal
    np.testing.assert_array_equal(second.actions, seen[0][costs.argmax()])


def test_uncertainty_turns_the_choice() -> None:
    class Foggy(PoseEvaluator):
        """Nobody knows what happens on the left."""

        def evaluate(self, actions, fidelity):
            scores = super().evaluate(actions, fidelity)
            return Scores(scores.goal, np.where(actions[..., 1].sum(1) > 0.0, 1.0, 0.0))

    bold, careful = (run(search(uncertainty=weight), Foggy(GOAL)) for weight in (0.0, 10.0))
    assert bold.actions[:, 1].sum() > 0.05
    assert careful.actions[:, 1].sum() <= 0.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_cannot_be_compared_are_refused(wrong: float) -> None:
    class Broken(PoseEvaluator):
        def evaluate(self, actions, fidelity):
            scores = super().evaluate(actions, fidelity)
            scores.goal[3] = wrong
            return scores

    with pytest.raises(PlanningError, match=r"cannot be compared.*1 of them not finite"):
        run(search(), Broken(GOAL))


def test_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(PlanningError, match="sizes of the search disagree"):
        search(elites=65)
    with pytest.raises(PlanningError, match="at the goal already"):
        Problem(START, STILL, unit=0.0)
    with pytest.raises(PlanningError, match="not a plan of this horizon"):
        run(search(), PoseEvaluator(GOAL), guess=np.zeros((4, 7)))
    with pytest.raises(PlanningError, match="not finite"):
        run(search(), PoseEvaluator(GOAL), guess=np.full((5, 7), np.nan))
