"""Protects the evaluation over ROS: each kind has the planner that its goals ask for, what is left out is named, each plan counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from wm_core import configuration
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_over_ros import PlansHeard, kinds_of, launch_folder, left_out
from wm_core.evaluation.errors import EvaluationError
from wm_core.planning.planner_config import PlannerConfig
from wm_core.training.overrides import overridden

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture
def config() -> ControlConfig:
    return configuration.read(ControlConfig, CONFIG / "control.yaml")


@pytest.mark.parametrize("kind", ["reach", "turn"])
def test_the_launch_is_given_the_planner_that_lock_step_plans_with(kind: str, config: ControlConfig, tmp_path: Path) -> None:
    given = overridden(configuration.read(PlannerConfig, CONFIG / "planner.yaml"), ["search.samples=7", "search.elites=4"])
    folder = launch_folder(config, given, kind, tmp_path / "config" / kind)
    assert [path.name for path in folder.iterdir()] == ["planner.yaml"]
    handed = configuration.read(PlannerConfig, folder / "planner.yaml")
    assert handed == config.planner_for(given, kind)
    assert handed.search.rotation == (config.rotation if kind == "turn" else given.search.rotation)
    assert config.rotation > 0.0


def test_what_is_left_out_is_named(config: ControlConfig) -> None:
    said = "\n".join(left_out(config))
    for name in ("push", *config.policies, *config.shifts.scenes):
        assert name in said
    alone = "\n".join(left_out(overridden(config, ["kinds=[turn]", "shifts.trials=0"])))
    assert not any(name in alone for name in ("push", *config.shifts.scenes))


def test_what_cannot_be_evaluated_at_all_is_refused(config: ControlConfig) -> None:
    assert kinds_of(config) == ("reach", "turn")
    with pytest.raises(EvaluationError, match=r"push.*reach, turn"):
        kinds_of(overridden(config, ["kinds=[push]"]))
    with pytest.raises(EvaluationError, match=r"one camera.*side.*front"):
        kinds_of(overridden(config, ["tasks.camera=side"]))


def test_a_plan_that_is_spoken_of_at_many_ticks_counts_once() -> None:
    heard = PlansHeard()
    for goal, number, took, late, missed in [
        ("goal-1", 1, 0.20, 0.5, 0),
        ("goal-1", 1, 0.20, 0.5, 0),
        ("goal-1", 2, 0.20, 0.5, 0),  # as long as the one before, and yet another one
        ("goal-1", 2, 0.20, 0.5, 1),
        ("goal-1", 4, 0.30, 0.6, 1),
        ("goal-2", 4, 0.30, 0.7, 0),
    ]:
        heard.hear((goal, number), took, late, missed)
    assert heard.planning == [0.20, 0.20, 0.30, 0.30]
    assert heard.latency == [0.5, 0.5, 0.6, 0.7]
    assert heard.missed == 0
