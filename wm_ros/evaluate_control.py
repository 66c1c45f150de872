"""`ros2 run wm_ros evaluate_control`: seeded goal reaching in real time, through the launch file and /plan_to_goal as a user would.

The tasks are those of `wm evaluate control` of kinds reach and turn; the judge knows the tool from the arm's own joint states. What
became of an object, nobody says over ROS: kind push is for the evaluation in lock-step.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from wm_core.configuration import read
from wm_core.errors import WmError
from wm_core.evaluation import control_page, trial_strip
from wm_core.evaluation.control import Trial
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_records import Place, TrialRecords
from wm_core.evaluation.control_task import Reaching, reaching
from wm_core.evaluation.errors import EvaluationError
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.planner_config import PlannerConfig
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.overrides import overridden
from wm_ros.conductor import START_TIMEOUT, Conductor, ConductorError, await_robot, launched
from wm_ros.conversions import seconds
from wm_ros.goal_driver import GoalDriver, UnplacedError
from wm_ros.images import picture
from wm_ros.mission_recorder import MissionRecorder
from wm_ros.msg import PlannerStatus
from wm_ros.sim_reset import reset

RCLError: type[Exception] = rclpy_implementation.RCLError
CONFIG = Path(get_package_share_directory("wm_ros")) / "config"
SCENE, POLICY = "as_trained", "controller"


class Evaluation:
    """One trial after the other; `step` is the time (s) between two looks at how far the tool is from the goal."""

    def __init__(self, node: MissionRecorder, conductor: Conductor, config: ControlConfig, step: float) -> None:
        self._node, self._conductor, self._config, self._step = node, conductor, config, step
        self._driver = GoalDriver(node, conductor)

    def trial(self, asked: Reaching, index: int, kind: str) -> tuple[Trial, Image]:
        """From the reset to the judgement; with the picture of the goal."""
        reset(self._node, self._conductor, asked.seed)
        self._over(asked.goal, asked.height)
        goal, tool = self._driver.look(), self._tool()
        self._over(asked.start, asked.height)
        self._driver.look()
        began = time.monotonic()
        self._driver.ask(goal, execute=True)
        trial = self._watched(tool, began, index, kind)
        self._conductor.ask(Trigger, "mpc_controller/cancel", Trigger.Request())  # a goal that was not reached would be pursued on
        return trial, goal

    def _watched(self, goal: Array, began: float, index: int, kind: str) -> Trial:
        """The tool's errors after each step of the model, counted from the request, with what the controller said meanwhile."""
        judge = self._config.judge
        count = round(judge.seconds / self._step)
        keep = -(-count // self._config.pictures) if self._config.pictures else 0
        errors, path, frames, planning, latency, missed = [], [self._tool()[:3, 3]], [], list[float](), list[float](), 0
        for step in range(count):
            if keep and step % keep == 0:
                frames.append(self._node.view())
            self._conductor.spin_until(lambda: False, began + (step + 1) * self._step - time.monotonic())
            tool = self._tool()
            away = rotation.pose_error(goal, tool)
            errors.append((float(np.linalg.norm(away[:3])), float(np.linalg.norm(away[3:])), 0.0))
            path.append(tool[:3, 3])
            status = self._node.statuses["mpc_controller"]
            if status.state == PlannerStatus.EXECUTING:
                planning.append(seconds(status.planning_time))
                latency.append(seconds(status.input_age))
                missed = int(status.missed_deadlines)
        frames += [self._node.view()] if keep else []
        rows = np.array(errors)
        said = np.array(planning), missed, tuple(frames), np.array(latency)
        return Trial(index, judge.succeeded(kind, rows), rows, np.array(path), *said)

    def _over(self, pose: Array, height: float) -> None:
        """Up, across above the objects, and down."""
        for place in (self._tool(), pose):
            raised = place.copy()
            raised[2, 3] = height
            raised[:3, :3] = pose[:3, :3]
            self._driver.go(raised)
        self._driver.go(pose)

    def _tool(self) -> Array:
        if self._node.tool is None:
            raise ConductorError("nobody says where the tool is")
        return self._node.tool


def evaluate(config: ControlConfig, step: float, model: str, out: Path) -> None:
    """Every trial that is not there yet; what is there is reported even when this one ends early."""
    kinds = [kind for kind in config.kinds if kind != "push"]
    records, asked = TrialRecords(out), {Place(SCENE, kind, POLICY): config.tasks.trials for kind in kinds}
    if not kinds:
        raise EvaluationError("nothing is left to evaluate over ROS", got=f"kinds {list(config.kinds)}", allowed="reach, turn")
    settings = {"tasks": {**asdict(config.tasks), "trials": 0}, "judge": asdict(config.judge), "model": model, "step": step}
    settings["planner"] = asdict(read(PlannerConfig, CONFIG / "planner.yaml"))
    settings["controller"] = asdict(read(ControllerConfig, CONFIG / "mpc_controller.yaml"))
    records.begin(settings)
    told = control_page.Told(config.judge, step, asked)
    try:
        with launched(model=model) as process:
            await_robot(process)
            node = MissionRecorder(START_TIMEOUT)
            conductor = Conductor(node, process)
            conductor.wait("the whole system", node.ready, START_TIMEOUT)
            _trials(Evaluation(node, conductor, config, step), records, config, kinds, conductor)
    finally:
        if any(records.there(place, index) for place, count in asked.items() for index in range(count)):
            for one in control_page.report(records, told, settings):
                print(f"{one.kind}: {one.successes} of {one.trials} ({one.low:.2f} .. {one.high:.2f})")  # noqa: T201


def _trials(evaluation: Evaluation, records: TrialRecords, config: ControlConfig, kinds: list[str], conductor: Conductor) -> None:
    drawing = EmbeddedArm(read(SimConfig, CONFIG / "sim_arm.yaml"))
    for index in range(config.tasks.trials):
        for kind in kinds:
            place, asked = Place(SCENE, kind, POLICY), config.tasks.of(kind, config.tasks.trials)
            if records.there(place, index):
                continue
            try:
                trial, goal = evaluation.trial(reaching(asked, drawing, index), index, kind)
            except UnplacedError as error:
                conductor.say(f"{kind} {index + 1} is left out: {error}")
                continue
            if trial.frames:
                trial_strip.write(records.path(place, index, "png"), trial, picture(goal))
            records.save(place, trial)
            away, turned, _ = trial.errors[-1]
            conductor.say(f"{kind} {index + 1}: {100 * away:.1f} cm, {turned:.2f} rad: {'success' if trial.success else 'no success'}")


def main() -> int:
    """Run the evaluation; exit status 0 says that it was measured."""
    parser = argparse.ArgumentParser(prog="evaluate_control", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG / "control.yaml", help="tasks and judge (default: the shipped control.yaml)")
    parser.add_argument("--model", default="", help="the launch argument model (default: the embedded one)")
    parser.add_argument("--step", type=float, default=0.2, help="a step of the model, s (default: 0.2)")
    parser.add_argument("--out", type=Path, default=Path("out/control_ros"), help="directory of the report")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings in place of the file's, e.g. tasks.trials=20")
    chosen = parser.parse_args()
    rclpy.init()
    try:
        evaluate(overridden(read(ControlConfig, chosen.config), chosen.overrides), chosen.step, chosen.model, chosen.out)
    except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
        print(f"evaluate_control: {error if isinstance(error, WmError) else 'interrupted'}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        rclpy.try_shutdown()
    print(f"evaluate_control: {chosen.out / control_page.FILE}")  # noqa: T201
    return 0
