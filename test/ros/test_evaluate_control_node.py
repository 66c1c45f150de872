"""Protects `wm evaluate control --ros`: a trial through the launch file and /plan_to_goal, planned as its kind asks for, is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from arm_system import ArmSystem
from ros_process import CONFIG, RosProcess

from wm_core import configuration
from wm_core.evaluation.control_config import ControlConfig
from wm_core.planning.planner_config import PlannerConfig

SHORT = ("tasks.trials=1", "judge.seconds=5.0", "judge.last=1", "pictures=0")


def test_a_trial_of_kind_turn_is_judged_and_reported(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    out = tmp_path / "report"
    program = Path(get_package_prefix("wm_ros")) / "lib" / "wm_ros" / "evaluate_control"
    command = [program, "--out", out, "kinds=[turn, push]", "planner.search.samples=32", *SHORT]
    evaluation = RosProcess(command, new_system().domain, tmp_path / "evaluation.log")
    try:
        assert evaluation.wait(200.0) == 0, evaluation.output()
    finally:
        evaluation.end()
    told = json.loads((out / "control.json").read_text(encoding="utf-8"))
    (one,) = told["summaries"]
    assert (one["kind"], one["policy"], one["trials"]) == ("turn", "controller", 1)
    assert told["step"] == 0.2
    assert one["plans"] >= 1
    assert one["latency_p95"] > one["planning_p95"] > 0.0  # the frame's age and the wait for the tick are in it
    planner = configuration.read(PlannerConfig, out / "config" / "turn" / "planner.yaml")
    assert planner.search.rotation == configuration.read(ControlConfig, CONFIG / "control.yaml").rotation
    assert planner.search.samples == 32
    assert "kind push is left out" in evaluation.output()
    assert (out / "control.md").is_file()
