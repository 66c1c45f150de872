"""`ros2 run wm_ros evaluate_control`: seeded goal reaching in real time, through the launch file and /plan_to_goal as a user would.

The tasks are those of `wm evaluate control` of kinds reach and turn, for each of which the launch file is started anew, with a planner that
its goals ask for; the judge knows the tool from the arm's own joint states. What became of an object, nobody says over ROS: kind push is
for the evaluation in lock-step.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from wm_core.cli import shipped
from wm_core.cli.evaluate_control import configs
from wm_core.configuration import read
from wm_core.errors import WmError
from wm_core.evaluation import control_page, trial_strip
from wm_core.evaluation.control import Trial
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_over_ros import PlansHeard, kinds_of, launch_folder, left_out
from wm_core.evaluation.control_records import Place, TrialRecords
from wm_core.evaluation.control_task import Reaching, reaching
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.offline import step_of
from wm_core.planning.planner_config import PlannerConfig
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.world_model.world_model import WorldModel
from wm_ros.conductor import START_TIMEOUT, Conductor, ConductorError, await_robot, launched
from wm_ros.conversions import seconds
from wm_ros.goal_driver import GoalDriver, RefusedGoalError, UnplacedError
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
        self._driver, self._plans = GoalDriver(node, conductor), PlansHeard()
        node.create_subscription(PlannerStatus, "mpc_controller/status", self._on_status, 50)

    def trial(self, asked: Reaching, index: int, kind: str) -> tuple[Trial, Image]:
        """From the reset to the judgement; with the picture of the goal."""
        reset(self._node, self._conductor, asked.seed)
        self._over(asked.goal, asked.height)
        goal, tool = self._driver.look(), self._tool()
        self._over(asked.start, asked.height)
        self._driver.look()
        began, self._plans = time.monotonic(), PlansHeard()
        try:
            self._driver.ask(goal, execute=True)
        except RefusedGoalError as error:  # it counts as what it is: a goal that is not reached
            self._conductor.say(f"{kind} {index + 1}: {error}")
        trial = self._watched(tool, began, index, kind)
        self._conductor.ask(Trigger, "mpc_controller/cancel", Trigger.Request())  # a goal that was not reached would be pursued on
        return trial, goal

    def _watched(self, goal: Array, began: float, index: int, kind: str) -> Trial:
        """The tool's errors after each step of the model, counted from the request, with what the controller said meanwhile."""
        judge = self._config.judge
        count = round(judge.seconds / self._step)
        keep = -(-count // self._config.pictures) if self._config.pictures else 0
        errors, path, frames = [], [self._tool()[:3, 3]], []
        for step in range(count):
            if keep and step % keep == 0:
                frames.append(self._node.view())
            self._conductor.spin_until(lambda: False, began + (step + 1) * self._step - time.monotonic())
            tool = self._tool()
            away = rotation.pose_error(goal, tool)
            errors.append((float(np.linalg.norm(away[:3])), float(np.linalg.norm(away[3:])), 0.0))
            path.append(tool[:3, 3])
        frames += [self._node.view()] if keep else []
        rows = np.array(errors)
        said = np.array(self._plans.planning), self._plans.missed, tuple(frames), np.array(self._plans.latency)
        return Trial(index, judge.succeeded(kind, rows), rows, np.array(path), *said)

    def _on_status(self, message: PlannerStatus) -> None:
        if message.state == PlannerStatus.EXECUTING:
            took, late = seconds(message.planning_time), seconds(message.frame_to_command)
            self._plans.hear((message.goal_id, int(message.plans)), took, late, int(message.missed_deadlines))

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


@dataclass(frozen=True)
class Setup:
    """What is evaluated: tasks and judge, how plans are searched for, the launch argument `model`, and where the report goes."""

    config: ControlConfig
    planner: PlannerConfig
    model: str
    out: Path

    @property
    def records(self) -> TrialRecords:
        return TrialRecords(self.out)


def evaluate(setup: Setup) -> None:
    """Every trial that is not there yet; what is there is reported even when this one ends early."""
    config, records, kinds = setup.config, setup.records, kinds_of(setup.config)
    asked = {Place(SCENE, kind, POLICY): config.tasks.trials for kind in kinds}
    for line in left_out(config):
        print(line, flush=True)  # noqa: T201
    model = WorldModel.open(Path(setup.model) / "world_model" if setup.model else shipped.model("world_model"))
    step, told = step_of(model), settings(setup, model.hash)
    records.begin(told)
    try:
        for kind in kinds:
            waiting = [index for index in range(config.tasks.trials) if not records.there(Place(SCENE, kind, POLICY), index)]
            if waiting:
                _launched_trials(setup, kind, waiting, step)
    finally:
        if any(records.there(place, index) for place, count in asked.items() for index in range(count)):
            for one in control_page.report(records, control_page.Told(config.judge, step, asked), told):
                print(f"{one.kind}: {one.successes} of {one.trials} ({one.low:.2f} .. {one.high:.2f})")  # noqa: T201


def settings(setup: Setup, model_hash: str) -> dict[str, object]:
    """Everything that a trial depends on; how many there are changes none."""
    config, controller = setup.config, read(ControllerConfig, CONFIG / "mpc_controller.yaml")
    tasks = {name: value for name, value in asdict(config.tasks).items() if name != "trials"}
    searched = {"rotation": config.rotation, "planner": asdict(setup.planner), "controller": asdict(controller)}
    return {"tasks": tasks, "judge": asdict(config.judge), "model": model_hash, **searched}


def _launched_trials(setup: Setup, kind: str, waiting: list[int], step: float) -> None:
    """The trials of one kind, with nodes of their own: what a kind asks of the planner is read when that starts."""
    folder = launch_folder(setup.config, setup.planner, kind, setup.out.absolute() / "config" / kind)
    with launched(model=setup.model, config=folder) as process:
        await_robot(process)
        node = MissionRecorder(START_TIMEOUT)
        try:
            conductor = Conductor(node, process)
            conductor.wait("the whole system", node.ready, START_TIMEOUT)
            _trials(Evaluation(node, conductor, setup.config, step), setup, kind, waiting, conductor)
        finally:
            node.destroy_node()


def _trials(evaluation: Evaluation, setup: Setup, kind: str, waiting: list[int], conductor: Conductor) -> None:
    drawing, records, place = EmbeddedArm(read(SimConfig, CONFIG / "sim_arm.yaml")), setup.records, Place(SCENE, kind, POLICY)
    asked = setup.config.tasks.of(kind, setup.config.tasks.trials)
    for index in waiting:
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
    parser.add_argument(
        "--planner", type=Path, default=CONFIG / "planner.yaml", help="how plans are searched for (default: the shipped one)"
    )
    parser.add_argument("--model", default="", help="the launch argument model (default: the embedded one)")
    parser.add_argument("--out", type=Path, default=Path("out/control_ros"), help="directory of the report")
    what = "settings in place of the files', e.g. tasks.trials=20 planner.search.samples=128"
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=what)
    chosen = parser.parse_args()
    rclpy.init()
    try:
        evaluate(Setup(*configs(chosen.config, chosen.planner, chosen.overrides), chosen.model, chosen.out))
    except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
        print(f"evaluate_control: {error if isinstance(error, WmError) else 'interrupted'}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        rclpy.try_shutdown()
    print(f"evaluate_control: {chosen.out / control_page.FILE}")  # noqa: T201
    return 0
