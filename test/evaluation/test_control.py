"""Protects the judging of control: who is told the goal's pose succeeds, who stays or wanders does not, and tasks repeat themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wm_core import configuration
from wm_core.errors import ConfigurationError
from wm_core.evaluation.control import JudgeConfig, compare, summary, wilson
from wm_core.evaluation.control_policy import Informed, Random, Still
from wm_core.evaluation.control_task import TaskConfig, tasks
from wm_core.planning.bounds import Bounds, StepLimits
from wm_core.planning.cost import Cost, CostWeights
from wm_core.planning.search import Search, SearchConfig
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"
STEP = 0.2
JUDGE = JudgeConfig(seconds=6.0, last=3, tolerance=0.02, turn_tolerance=0.1, object_tolerance=0.03)


def config(kind: str, trials: int = 2, **changes: float) -> TaskConfig:
    near, far = (0.04, 0.14) if kind == "push" else (0.15, 0.35)
    ways = {"nearest": near, "farthest": far} | changes
    return TaskConfig(kind, trials, 77, turn=0.3, camera="front", rate=10.0, speed=0.4, **ways)


def search() -> Search:
    limits = StepLimits(0.25, 0.6, (0.30, -0.30, 0.02), (0.64, 0.30, 0.38), (0.3, 0.3, 0.8))
    drawn = SearchConfig("cem", 5, 8, 1, 2, 0, 0.0, 0.5, 0.5, 0.0, 0.05, 0.0, 0.0, 1.0, 0)
    return Search(drawn, Bounds(limits, STEP), Cost(CostWeights(1.0, 0.0, 0.0, 0.0, 0.0), limits, STEP))


@pytest.fixture(scope="module")
def arm() -> EmbeddedArm:
    return EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"))


@pytest.mark.parametrize("kind", ["reach", "turn", "push"])
def test_the_informed_succeeds_where_the_idle_fails(kind: str, arm: EmbeddedArm) -> None:
    trials = compare({"still": Still(), "informed": Informed(search())}, arm, config(kind), JUDGE, STEP)
    assert [trial.success for trial in trials["still"]] == [False, False]
    assert [trial.success for trial in trials["informed"]] == [True, True]
    informed, still = (summary(name, kind, trials[name], STEP) for name in ("informed", "still"))
    assert informed.tool_error < (0.02 if kind == "push" else 1e-3)  # an arm that presses against an object stays behind its command
    for trial, task in zip(trials["informed"], tasks(config(kind), arm), strict=True):
        np.testing.assert_allclose(trial.path[-1], task.tool[:3, 3], atol=1e-5)
    assert still.jerk == 0.0 < informed.jerk
    assert (informed.rate, still.rate) == (1.0, 0.0)


def test_wandering_is_no_success_and_repeats_itself(arm: EmbeddedArm) -> None:
    first, again = (compare({"random": Random(search())}, arm, config("reach"), JUDGE, STEP)["random"] for _ in range(2))
    assert not any(trial.success for trial in first)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.path, other.path)
        np.testing.assert_array_equal(one.errors, other.errors)


@pytest.mark.parametrize("kind", ["reach", "turn", "push"])
def test_tasks_are_what_was_asked_for(kind: str, arm: EmbeddedArm) -> None:
    drawn = []
    for task in tasks(config(kind, trials=3), arm):
        tool, turn, moved = task.errors(arm)
        drawn.append(task)
        assert (0.04 <= moved <= 0.14) if kind == "push" else (0.14 <= tool <= 0.36)
        assert (turn > 0.05) == (kind == "turn") or kind == "push"
        assert np.ptp(task.picture) > 50
        assert not np.array_equal(task.picture, arm.render("front"))
    again = list(tasks(config(kind, trials=2), arm))
    for one, other in zip(drawn, again, strict=False):  # task i does not depend on how many there are
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.start.physics, other.start.physics)
    assert not np.array_equal(drawn[0].picture, drawn[1].picture)


def test_a_task_that_cannot_be_is_refused(arm: EmbeddedArm) -> None:
    with pytest.raises(ConfigurationError, match="no distance is left"):
        config("reach", nearest=0.3, farthest=0.3)
    with pytest.raises(ConfigurationError, match="no two places so far apart"):
        next(tasks(config("reach", nearest=0.9, farthest=1.0), arm))


def test_only_the_last_steps_are_judged_and_all_of_them() -> None:
    errors = np.zeros((10, 3))
    errors[:7, 0] = 1.0
    assert JUDGE.succeeded("reach", errors)
    errors[8, 0] = 0.021
    assert not JUDGE.succeeded("reach", errors)
    errors[8] = [0.0, 0.2, 0.0]
    assert JUDGE.succeeded("reach", errors)
    assert not JUDGE.succeeded("turn", errors)
    errors[8] = [1.0, 1.0, 0.031]
    assert not JUDGE.succeeded("push", errors)


def test_the_interval_is_wilsons() -> None:
    # 95 of 100: the textbook's interval
    assert wilson(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-4)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(20, 20)[1] == pytest.approx(1.0)
    assert wilson(20, 20)[0] == pytest.approx(0.8389, abs=1e-4)
