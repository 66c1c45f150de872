"""Protects what a controller says that its machine can hold: what was measured, and that nothing was where nothing was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from followed_world import PACE
from pose_problem import GOAL, PoseEvaluator, search

from wm_core import configuration
from wm_core.cli.shipped import shipped
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.draft import Drafter
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.rate import Rate
from wm_core.planning.rehearsal import TIMES, rehearse
from wm_core.planning.scores import Pass, Scores
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing

DRAFTER = Drafter(search(iterations=1), 3, 2)


class Slow(PoseEvaluator):
    """Each plan takes the next of some times (s), on a clock of its own."""

    def __init__(self, times: list[float]) -> None:
        super().__init__(GOAL)
        self.times, self.time, self.shown = times, 100.0, list[Seen]()

    def see(self, seen: Seen) -> None:
        self.shown.append(seen)

    def evaluate(self, actions: np.ndarray, fidelity: Pass) -> Scores:
        if len(actions) > 1:
            self.time += self.times[len(self.shown) - 1]
        return super().evaluate(actions, fidelity)


def test_a_rehearsal_is_as_long_as_its_longest_plan_but_the_first() -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(32, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    encoder = FrozenEncoder("small", MomentNetwork(8, 2, 8, 8, 8).build(32), preprocessing, torch.device("cpu"))
    robot = read_robot(shipped("ur5e.yaml"), arm.urdf())
    config = configuration.read(ControllerConfig, shipped("mpc_controller.yaml"))
    slow, said = Slow([9.0, 0.7, 0.9, 0.8]), list[str]()
    took = rehearse(DRAFTER, lambda goal: slow, encoder, robot, config, said.append, lambda: slow.time)
    assert took == pytest.approx(0.9)
    assert said == ["the first plan took 9.00 s"]
    assert len(slow.shown) == 1 + TIMES
    assert max(len(seen.committed) for seen in slow.shown) <= 2, "each plan has frames that are new"
    rate = Rate.assumed(DRAFTER, config.pace).measured(took)
    assert rate.text == "a plan of 64 x 5 x 1 takes 0.90 s: plans start 1.0 s ahead, and are 1.0 s long: the arm rests between them"
    assert (rate.number, rate.slow) == ("0.900", True)
    assert rate.after(5.0) == rate, "what was rehearsed stays"


def test_what_was_not_measured_is_said_to_be_assumed_until_the_first_plans_tell() -> None:
    rate = Rate.assumed(DRAFTER, PACE)
    assert rate.lead == DRAFTER.length, "without a deadline a plan may take as long as it is"
    rate = Rate.assumed(DRAFTER, configuration.read(ControllerConfig, shipped("mpc_controller.yaml")).pace)
    assert rate.text == "a plan of 64 x 5 x 1 is not measured yet, assumed: 0.50 s: plans start 0.6 s ahead"
    assert (rate.number, rate.slow) == ("nothing yet", False)
    told = []
    for seconds in (0.2, 0.3, 0.1, 7.0):
        rate = rate.after(seconds)
        told.append(rate.lead)
    assert told == [0.2, 0.3, 0.3, 0.3]
    assert rate.text == "a plan of 64 x 5 x 1 takes 0.30 s: plans start 0.4 s ahead"
    assert rate.number == "0.300"
