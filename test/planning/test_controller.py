"""Protects closed-loop control: plans begin where the arm will be, late ones cost nothing but time, and every end is rest and words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from followed_world import PACE, PURSUIT, SOURCE, TICK, TRUST, SeeingPose, World
from pose_problem import GOAL, SECONDS, START, search

from wm_core.errors import PlanningError
from wm_core.planning.controller import State, whole_chunk
from wm_core.planning.draft import Draft
from wm_core.planning.scores import Scores
from wm_core.planning.split import UnavailableError


def at_rest(world: World) -> bool:
    """Whether the last thing sent was a zero, and nothing follows it."""
    count = len(world.sent)
    world.advance(0.5)
    return len(world.sent) <= count + 1 and not world.sent[-1][1].motion.any()


def next_plan(world: World) -> Draft:
    """Let time pass until one more plan is made."""
    while world.controller.running:
        made = world.controller.improve()
        if made is not None:
            return made[0]
        world.advance(0.02)
    raise AssertionError(world.controller.report.text)


def test_a_goal_is_reached_and_then_nothing_is_sent_any_more() -> None:
    world = World()
    world.begin(world.mission())
    world.run(20.0)
    assert world.controller.report.state is State.REACHED
    assert np.linalg.norm(world.position - GOAL.position) < 0.02
    assert at_rest(world)
    times = [time for time, _ in world.sent]
    np.testing.assert_allclose(np.diff(times), TICK, atol=1e-9)


@pytest.mark.parametrize(("lag", "plan_seconds"), [(0.0, 0.02), (0.04, 0.1), (0.1, 0.3), (0.18, 0.62)])
def test_plans_begin_exactly_where_the_moving_arm_will_be(lag: float, plan_seconds: float) -> None:
    world = World(lag, plan_seconds)
    mission = world.mission(GOAL.position + np.array((0.0, 0.15, 0.0)))
    world.begin(mission)
    begun, moving = [], 0
    for _ in range(3):
        begun.append((next_plan(world).begins, mission.evaluator.start))  # type: ignore[attr-defined]
        moving += bool(np.abs(world.motion).max() > 0.001)
    world.advance(1.0)
    for begins, seen_start in begun:
        np.testing.assert_allclose(begins.tool.position, world.at(begins.time), atol=1e-6)
        np.testing.assert_allclose(seen_start, world.at(begins.time), atol=1e-5)
    assert moving
    assert world.controller.report.missed == 0


def test_the_next_plan_begins_from_what_is_left_of_the_last() -> None:
    world = World(plan_seconds=0.2)
    mission = world.mission()
    world.begin(mission)
    first = world.controller.report.draft
    second = next_plan(world)
    assert first is not None
    left = first.track.rest(second.begins.time)
    np.testing.assert_allclose(mission.evaluator.asked[1][0, :, :3], left[:, :3], atol=1e-9)  # type: ignore[attr-defined]
    assert second.begins.time > first.begins.time


def test_while_a_plan_is_late_the_old_one_goes_on_and_then_the_arm_rests() -> None:
    world = World(plan_seconds=0.2)
    far = START.position + np.array((-0.1, 0.25, 0.0))
    world.begin(world.mission(far))
    old = world.controller.report.draft
    assert old is not None
    world.plan_seconds, before = 2.0, len(world.sent)
    next_plan(world)
    sent = [step.motion[:3] for _, step in world.sent[before:]]
    steps = np.repeat(old.plan.actions[:, :3] / 2.0, 2, axis=0)
    begun = next(index for index, motion in enumerate(sent) if motion.any())
    np.testing.assert_allclose(sent[begun : begun + len(steps)], steps, atol=1e-12)
    assert not np.array(sent[begun + len(steps) :]).any()
    assert world.controller.report.missed == 1
    world.plan_seconds = 0.2
    world.run(20.0)
    assert world.controller.report.state is State.REACHED


@pytest.mark.parametrize("plan_seconds", [0.1, 0.32, 0.9])
def test_frame_to_command_ends_with_the_first_command_of_each_plan_late_or_not(plan_seconds: float) -> None:
    world = World(plan_seconds=0.2)
    world.begin(world.mission(START.position + np.array((-0.1, 0.25, 0.0))))
    world.plan_seconds = plan_seconds
    told = [(world.controller.report.draft, world.controller.report)]
    told += [(next_plan(world), world.controller.report) for _ in range(3)]
    world.advance(1.0)
    assert [report.plans for _, report in told] == [1, 2, 3, 4]
    for draft, report in told:
        sent = next(time for time, step in world.sent if step.plan_id == f"goal.{report.plans}")
        assert draft is not None
        assert report.frame_to_command == pytest.approx(sent - draft.begins.seen.stamp, abs=1e-6)


def test_a_late_plan_for_an_arm_at_rest_is_carried_out_from_its_beginning() -> None:
    world = World(plan_seconds=0.3)
    first = world.controller.first(world.mission())
    world.advance(1.0)
    world.controller.begin(first)
    before = len(world.sent)
    world.advance(0.4)
    moved = [step.motion[:3] for _, step in world.sent[before:] if step.motion.any()]
    np.testing.assert_allclose(moved[0], first.draft.plan.actions[0, :3] / 2.0)


def test_a_model_that_does_not_answer_any_more_ends_the_goal() -> None:
    world = World(plan_seconds=0.2)
    world.begin(world.mission())
    world.plan_seconds = 6.0
    world.run(30.0)
    report = world.controller.report
    assert report.state is State.FAILED
    assert "no new plan for" in report.text
    assert at_rest(world)
    world.plan_seconds = 0.2
    world.begin(world.mission())
    world.run(20.0)
    assert world.controller.report.state is State.REACHED


@pytest.mark.parametrize(
    ("fault", "lasts", "ends", "words"),
    [
        (UnavailableError("no world model answers"), 2.0, State.REACHED, "reached"),
        (
            UnavailableError("no world model answers"),
            60.0,
            State.FAILED,
            "no new plan for 5.1 s, allowed: 5 s: no plan could be made: no world",
        ),
        (PlanningError("the model is broken"), 2.0, State.FAILED, "no plan could be made: the model is broken"),
    ],
)
def test_servers_that_do_not_answer_end_a_goal_only_where_that_lasts(fault: Exception, lasts: float, ends: State, words: str) -> None:
    world = World(plan_seconds=0.1)
    mission = world.mission()
    world.begin(mission)
    world.run(0.4)
    assert isinstance(mission.evaluator, SeeingPose)
    mission.evaluator.fault, until = fault, world.now() + lasts
    while world.controller.running:
        mission.evaluator.fault = fault if world.now() < until else None
        planned = None
        try:
            planned = world.controller.improve()
        except PlanningError as error:
            world.controller.unplanned(error)
        if planned is None:
            world.advance(0.02)
    report = world.controller.report
    assert report.state is ends
    assert words in report.text
    assert at_rest(world)


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        ("camera_on", "camera frame is"),
        ("camera_moves", "stay the same while the tool moved"),
        ("guard", "STOPPED"),
        ("source", "come from elsewhere"),
    ],
)
def test_what_breaks_on_the_way_ends_the_goal_and_leaves_the_arm_at_rest(breaks: str, words: str) -> None:
    world = World()
    world.begin(world.mission())
    world.run(0.2)
    if breaks == "guard":
        world.guard_fault = "the safety guard is not ARMED: STOPPED"
    elif breaks == "source":
        world.source = replace(SOURCE, encoder_hash="another")
    else:
        setattr(world, breaks, False)
    world.run(10.0)
    report = world.controller.report
    assert report.state is State.FAILED
    assert words in report.text
    assert at_rest(world)
    world.camera_on, world.camera_moves, world.guard_fault = True, True, ""
    world.advance(0.6)
    world.begin(world.mission())
    world.run(20.0)
    assert world.controller.report.state is State.REACHED


def test_the_arm_rests_while_frames_are_late_and_goes_on_when_they_come() -> None:
    world = World(plan_seconds=0.2)
    world.begin(world.mission())
    world.run(0.2)
    world.camera_on, before = False, len(world.sent)
    world.run(0.7)
    late = [step.motion for time, step in world.sent[before:] if world.sight.blind(TRUST, time)]
    assert "the arm is held" in world.controller.report.text
    world.camera_on = True
    assert len(late) >= 2
    assert not np.array(late).any()
    assert world.controller.running
    world.run(20.0)
    assert world.controller.report.state is State.REACHED


def test_a_goal_can_be_cancelled() -> None:
    world = World()
    assert world.controller.cancel() is None
    world.begin(world.mission())
    world.run(0.5)
    zero = world.controller.cancel()
    assert zero is not None
    assert not zero.motion.any()
    assert world.controller.report.state is State.CANCELLED
    count = len(world.sent)
    world.advance(0.5)
    assert len(world.sent) == count
    assert world.controller.improve() is None


def test_a_plan_that_ends_after_its_goal_was_cancelled_is_dropped() -> None:
    world = World()
    mission = world.mission()
    world.begin(mission)
    world.run(0.5)
    evaluate, cancelled = mission.evaluator.evaluate, []

    def cancelling(*args):  # type: ignore[no-untyped-def]
        cancelled.append(world.controller.cancel())
        return evaluate(*args)

    mission.evaluator.evaluate = cancelling  # type: ignore[method-assign]
    while world.controller.running:
        assert world.controller.improve() is None
        world.advance(0.02)
    assert world.controller.report.state is State.CANCELLED
    assert not cancelled[0].motion.any()
    count = len(world.sent)
    world.advance(0.5)
    assert len(world.sent) == count


def test_a_goal_replaces_another_in_motion() -> None:
    world = World(plan_seconds=0.2)
    world.begin(world.mission(START.position + np.array((0.0, 0.25, 0.0)), name="one"))
    world.run(0.8)
    assert world.motion[1] > 0.0
    other = world.mission(START.position + np.array((0.0, -0.1, 0.05)), name="two")
    first = world.controller.first(other)
    world.controller.begin(first)
    np.testing.assert_allclose(first.draft.begins.tool.position, world.at(world.now()), atol=0.06)
    world.run(20.0)
    assert world.controller.report.state is State.REACHED
    assert world.controller.report.goal_id == "two"
    assert np.linalg.norm(world.position - other.evaluator.goal) < 0.02  # type: ignore[attr-defined]
    ids = [step.plan_id.split(".")[0] for _, step in world.sent if step.motion.any()]
    assert ids == sorted(ids)


def test_a_goal_that_cannot_be_reached_is_given_up() -> None:
    world = World()
    world.begin(world.mission(np.array([0.5, 0.6, 0.2]), replace(PURSUIT, patience=2.0)))
    world.run(30.0)
    assert world.controller.report.state is State.FAILED
    assert "no nearer for 2 s" in world.controller.report.text
    assert at_rest(world)


def test_time_runs_out() -> None:
    world = World()
    world.begin(world.mission(pursuit=replace(PURSUIT, timeout=0.6, patience=0.6)))
    world.run(30.0)
    assert "not reached within 0.6 s" in world.controller.report.text


@pytest.mark.parametrize("review", [0, 4])
def test_how_unsure_a_plan_is_is_told_of_the_newest(review: int) -> None:
    """The search tells it where it looks carefully; where it does not, every second's newest plan is looked at."""
    world = World(plan_seconds=0.2)
    drafter = world.controller.drafter
    world.controller.drafter = replace(drafter, search=search(smallest=0.005, iterations=5, review=review))
    mission = world.mission(pursuit=replace(PURSUIT, settle=1000))
    mission.evaluator.spread = 0.01  # type: ignore[attr-defined]
    world.begin(mission)
    unit = np.square(START.position - GOAL.position).sum()
    assert world.controller.report.uncertainty == pytest.approx(0.01 / unit)
    mission.evaluator.spread = 0.03  # type: ignore[attr-defined]
    world.run(0.5 if review else 2.0)
    assert world.controller.report.uncertainty == pytest.approx(0.03 / unit)


def test_no_plan_is_made_twice_from_one_frame_nor_sooner_than_agreed() -> None:
    world = World(plan_seconds=0.0)
    world.controller.pace = replace(world.controller.pace, replan=0.5)
    mission = world.mission()
    world.begin(mission)
    begun = world.now()
    world.run(2.0)
    assert len(mission.evaluator.asked) <= 1 + (world.now() - begun) / 0.5 + 1e-6  # type: ignore[attr-defined]


def test_steps_of_the_model_are_whole_numbers_of_steps_of_control() -> None:
    assert whole_chunk(10.0, 0.2) == 2
    with pytest.raises(PlanningError, match="multiple of 5 Hz"):
        whole_chunk(12.0, SECONDS)


def test_a_careful_look_that_made_one_plan_late_makes_no_other_late(monkeypatch: pytest.MonkeyPatch) -> None:
    world, deadline, evaluate = World(), 1.0, SeeingPose.evaluate
    world.controller.drafter = replace(world.controller.drafter, search=search(review=6, iterations=5))
    world.controller.pace = replace(PACE, deadline=deadline)

    def slow(pose: SeeingPose, actions: np.ndarray, fidelity: str) -> Scores:
        if fidelity == "review" and len(actions) > 1:
            world.advance(0.8)
        return evaluate(pose, actions, fidelity)  # type: ignore[arg-type]

    monkeypatch.setattr(SeeingPose, "evaluate", slow)
    first = world.controller.first(world.mission())
    assert first.draft.plan.seconds > deadline, "how long it takes was not known"
    world.controller.begin(first)
    plan = next_plan(world).plan
    assert (plan.reviewed, plan.seconds < deadline) == (False, True)
