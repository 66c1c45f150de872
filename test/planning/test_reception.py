"""Protects what is answered to whoever asks for a goal: each thing that cannot be done has its code, and costs nothing but the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from followed_world import PURSUIT, SOURCE, SeeingPose, World
from pose_problem import GOAL

from wm_core.errors import PlanningError
from wm_core.planning.controller import State
from wm_core.planning.goal import Goal
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code, GoalRequest, RefusedError
from wm_core.planning.reception import Reception
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing

SIZE = 32
PICTURE = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
ASKED = GoalRequest(picture=PICTURE, execute=True)


class Desk:
    """A reception before a world whose model is closed form."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        preprocessing = Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        self.encoder = FrozenEncoder("small", MomentNetwork(8, 2, 8, 8, 8).build(SIZE), preprocessing, torch.device("cpu"))
        self.world, self.doubt, self.fault = World(), 0.5, None
        self.world.source = replace(SOURCE, encoder=self.encoder.name, encoder_hash=self.encoder.weight_hash)
        self.world.advance(0.5)
        self.library = GoalLibrary(folder)
        doubt: Callable[..., float] = lambda *_: self.doubt  # noqa: E731
        self.reception = Reception(self.world.controller, self.encoder, self.library, self._evaluator, doubt, PURSUIT, 2.0)

    def _evaluator(self, goal: Goal) -> SeeingPose:
        self.goal = goal
        made = SeeingPose(self.world, GOAL.position)
        made.fault = self.fault
        return made

    def ask(self, request: GoalRequest, guard: str = "") -> str:
        return self.reception.plan(self.reception.admit(request, guard)).first.mission.goal_id

    def refused(self, request: GoalRequest, guard: str = "") -> RefusedError:
        before = self.world.controller.running
        with pytest.raises(RefusedError) as caught:
            self.ask(request, guard)
        assert self.world.controller.running == before
        return caught.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "goals")


def test_a_goal_is_begun_and_reached(desk: Desk) -> None:
    assert desk.ask(ASKED) == "goal-1"
    desk.world.run(20.0)
    assert desk.world.controller.report.state is State.REACHED


def test_a_goal_that_is_only_planned_moves_nothing_and_needs_no_guard(desk: Desk) -> None:
    desk.ask(replace(ASKED, execute=False), guard="not ARMED")
    desk.world.advance(1.0)
    assert not desk.world.controller.running
    assert not desk.world.sent
    assert desk.world.controller.report.state is State.IDLE


def test_a_goal_that_is_replaced_by_one_that_is_only_planned_ends_with_a_zero(desk: Desk) -> None:
    desk.ask(ASKED)
    desk.world.run(0.5)
    assert desk.world.sent[-1][1].motion.any()
    desk.ask(replace(ASKED, execute=False, replace=True))
    desk.world.advance(0.1)
    assert not desk.world.sent[-1][1].motion.any()
    sent = len(desk.world.sent)
    desk.world.advance(0.5)
    assert len(desk.world.sent) == sent
    assert desk.world.controller.report.state is State.IDLE


def test_what_counts_of_a_picture_may_be_told_and_of_a_goal_of_the_library_is_known(desk: Desk) -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[: SIZE // 2] = True
    desk.ask(replace(ASKED, mask=mask, execute=False))
    weights = desk.goal.weights
    assert weights is not None
    assert weights.max() == pytest.approx(2.0)
    assert weights.min() == 0.0
    desk.ask(replace(ASKED, execute=False))
    assert desk.goal.weights is None
    assert desk.refused(replace(ASKED, mask=np.zeros_like(mask))).code is Code.GOAL_INVALID
    for words in ({"name": "default"}, {}):
        with pytest.raises(RefusedError, match=r"library has the mask it was saved with.*goal_image, goal_path or episode"):
            GoalRequest(mask=mask, **words)


def test_a_second_goal_is_refused_or_replaces_the_first_as_it_says(desk: Desk) -> None:
    desk.ask(ASKED)
    desk.world.run(0.3)
    assert desk.refused(ASKED).code is Code.BUSY
    assert "goal-1" in str(desk.refused(ASKED))
    assert desk.ask(replace(ASKED, replace=True)) == "goal-2"
    desk.world.run(20.0)
    assert desk.world.controller.report.goal_id == "goal-2"
    assert desk.world.controller.report.state is State.REACHED


def test_a_second_goal_is_refused_while_the_first_is_still_being_planned(desk: Desk) -> None:
    ticket = desk.reception.admit(ASKED, "")
    assert desk.refused(ASKED).code is Code.BUSY
    desk.reception.plan(ticket)
    assert desk.world.controller.running


def test_a_bad_goal_leaves_the_one_that_runs_alone(desk: Desk) -> None:
    desk.ask(ASKED)
    assert desk.refused(GoalRequest(name="nowhere", execute=True, replace=True)).code is Code.GOAL_UNKNOWN
    desk.world.run(20.0)
    assert desk.world.controller.report.state is State.REACHED


@pytest.mark.parametrize("path", ["~nobody-of-that-name/goal.png", "/" + "x" * 5000, "null\0byte.png"])
def test_a_path_that_is_none_is_a_bad_goal_and_nothing_more(desk: Desk, path: str) -> None:
    assert desk.refused(GoalRequest(path=path)).code is Code.GOAL_INVALID
    assert desk.world.controller.report.state is State.FAILED
    desk.ask(ASKED)
    assert desk.refused(GoalRequest(path=path, execute=True, replace=True)).code is Code.GOAL_INVALID
    assert desk.refused(GoalRequest(episode=f"{path}#0", replace=True)).code in (Code.GOAL_INVALID, Code.GOAL_UNKNOWN)


def test_whatever_goes_wrong_before_the_first_plan_is_said_in_the_status(desk: Desk) -> None:
    desk.fault = MemoryError("no room")
    with pytest.raises(MemoryError):
        desk.ask(ASKED)
    report = desk.world.controller.report
    assert report.state is State.FAILED
    assert "MemoryError: no room" in report.text
    assert not desk.reception.busy


def test_what_is_cancelled_before_its_first_plan_is_not_begun(desk: Desk) -> None:
    ticket = desk.reception.admit(ASKED, "")
    assert desk.reception.cancel()
    with pytest.raises(RefusedError, match="cancelled"):
        desk.reception.plan(ticket)
    assert not desk.world.controller.running
    desk.ask(ASKED)
    assert desk.world.controller.running


def test_what_is_cancelled_before_its_turn_comes_costs_no_plan_and_blocks_nobody(desk: Desk) -> None:
    ticket, began = desk.reception.admit(ASKED, ""), desk.world.now()
    desk.reception.cancel()
    with pytest.raises(RefusedError) as caught:
        desk.reception.plan(ticket)
    assert caught.value.code is Code.NOT_READY
    assert desk.world.now() == began
    assert not desk.reception.busy


def test_stale_frames_an_unarmed_guard_and_another_encoder(desk: Desk) -> None:
    assert desk.refused(ASKED, "the safety guard is not ARMED").code is Code.NOT_ARMED
    desk.world.source = SOURCE
    desk.world.advance(0.3)
    assert desk.refused(ASKED).code is Code.ENCODER_MISMATCH
    desk.world.camera_on = False
    desk.world.advance(1.0)
    assert desk.refused(ASKED).code is Code.OBSERVATION_STALE


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), "not a picture"),
        (np.full((SIZE, SIZE, 3), 7, np.uint8), "one flat colour"),
        (PICTURE[:, :16], "another size"),
        (PICTURE[..., 0], "not a picture"),
    ],
)
def test_pictures_that_are_no_goals(desk: Desk, picture: np.ndarray, words: str) -> None:
    error = desk.refused(replace(ASKED, picture=picture))
    assert error.code is Code.GOAL_INVALID
    assert words in str(error)


def test_goals_from_files_and_from_the_library(desk: Desk, tmp_path: Path) -> None:
    assert desk.refused(GoalRequest(path=str(tmp_path / "none.png"))).code is Code.GOAL_INVALID
    (tmp_path / "text.png").write_text("no picture")
    assert desk.refused(GoalRequest(path=str(tmp_path / "text.png"))).code is Code.GOAL_INVALID
    cv2.imwrite(str(tmp_path / "goal.png"), PICTURE)
    desk.ask(GoalRequest(path=str(tmp_path / "goal.png")))
    assert "the library is empty" in str(desk.refused(GoalRequest()))
    frames = torch.from_numpy(PICTURE.copy()).permute(2, 0, 1)[None]
    own = Goal("shelf", desk.encoder(frames).patches[0], desk.encoder.grid, desk.encoder.name, desk.encoder.weight_hash, PICTURE)
    desk.library.save(own)
    desk.library.save(replace(own, name="old", encoder_hash="other"))
    desk.ask(GoalRequest(name="shelf"))
    unknown = desk.refused(GoalRequest(name="shelv"))
    assert unknown.code is Code.GOAL_UNKNOWN
    assert "nearest: shelf" in str(unknown)
    assert desk.refused(GoalRequest(name="old")).code is Code.ENCODER_MISMATCH


def test_requests_that_contradict_themselves() -> None:
    with pytest.raises(RefusedError, match="goal_path and goal_name"):
        GoalRequest(path="a.png", name="b")
    with pytest.raises(RefusedError, match="make no sense"):
        GoalRequest(tolerance=float("nan"))


@pytest.mark.parametrize("episode", ["", "no_index", "#3", "/nowhere#0"])
def test_episodes_that_are_not_there(desk: Desk, episode: str) -> None:
    if episode:
        assert desk.refused(GoalRequest(episode=episode)).code is Code.GOAL_UNKNOWN
    else:
        assert desk.refused(GoalRequest(episode=episode, camera="side")).code is Code.GOAL_INVALID


def test_a_model_that_is_unsure_or_does_not_answer(desk: Desk) -> None:
    desk.doubt = 2.1
    assert "2.10 times" in str(desk.refused(ASKED))
    assert desk.refused(ASKED).code is Code.UNCERTAIN
    desk.reception.largest_doubt = 0.0
    desk.ask(replace(ASKED, execute=False))
    desk.fault = PlanningError("no server answers")
    assert desk.refused(ASKED).code is Code.MODEL_UNAVAILABLE
    assert desk.world.controller.report.state is State.FAILED


def test_a_model_that_becomes_unsure_on_the_way_ends_the_goal(desk: Desk) -> None:
    desk.reception.pursuit = replace(PURSUIT, settle=1000)
    desk.ask(ASKED)
    desk.world.run(1.5)
    desk.doubt = 2.1
    begun = desk.world.now()
    desk.world.run(10.0)
    report = desk.world.controller.report
    assert report.state is State.FAILED
    assert "got: 2.10 times; allowed: at most 2 times" in report.text
    assert "fine-tune, or raise doubt" in report.text
    assert desk.world.now() < begun + 3.5
    desk.world.advance(0.1)
    assert not desk.world.sent[-1][1].motion.any()


def test_a_single_look_that_finds_the_model_unsure_ends_nothing(desk: Desk) -> None:
    """Of all the looks on the way, every second one finds it unsure."""
    looks = list[float]()
    desk.reception.pursuit = replace(PURSUIT, settle=1000, patience=9.0, timeout=9.0)

    def doubt(*_: object) -> float:
        looks.append(desk.world.now())
        return 2.1 if len(looks) % 2 == 0 else 0.5

    desk.reception.doubt = doubt
    desk.ask(ASKED)
    desk.world.run(20.0)
    assert "not reached within 9 s" in desk.world.controller.report.text
    assert 6 <= len(looks) <= 10


def test_doubt_that_nobody_can_tell_is_no_fault_of_the_controller(desk: Desk) -> None:
    def nobody(*_: object) -> float:
        raise PlanningError("no server answers")

    desk.reception.doubt = nobody
    assert desk.refused(ASKED).code is Code.MODEL_UNAVAILABLE


def test_a_goal_may_have_bounds_of_its_own() -> None:
    own = GoalRequest(tolerance=0.3, timeout=1.0).pursuit(PURSUIT)
    assert (own.tolerance, own.timeout, own.patience) == (0.3, 1.0, 1.0)
    assert GoalRequest().pursuit(PURSUIT) == PURSUIT
