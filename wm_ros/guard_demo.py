"""`ros2 run wm_ros guard_demo`: launches the arm behind its guard, moves it, provokes the guard, and writes down what happened."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import rclpy
import yaml
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from wm_core.configuration import read, read_mapping
from wm_core.errors import WmError
from wm_core.evaluation.guard_demo_report import Demonstration, Leg, write
from wm_core.robot import reach
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.reach import ReachConfig
from wm_core.robot.rotation import Array
from wm_ros.conductor import START_TIMEOUT, Conductor, ConductorError, await_robot, launched
from wm_ros.guard_demo_recorder import GuardDemoRecorder
from wm_ros.msg import PlannerStatus

RCLError: type[Exception] = rclpy_implementation.RCLError
# Larger pictures than the default's for the report, but seldom: they cost time that the nodes need.
PICTURE_SIZE, PICTURE_RATE = 240, 2.0
LEG_TIMEOUT = 60.0
CONFIG = Path(get_package_share_directory("wm_ros")) / "config"
BELOW_THE_TABLE = (0.5, 0.0, -0.10, 3.14159, 0.0, 0.0)
INTO_THE_TABLE_SECONDS = 4.0


class Demo:
    """Drives the nodes as a user would: through their services and topics."""

    def __init__(self, node: GuardDemoRecorder, process: subprocess.Popen[bytes]) -> None:
        self._node, self._conductor = node, Conductor(node, process)
        self._parameters = AsyncParameterClient(node, "reach_pose")

    def run(self) -> None:
        """Every leg of the demonstration."""
        config = read(ReachConfig, CONFIG / "reach_pose.yaml")
        self._conductor.wait("the nodes", lambda: self._node.ready(), START_TIMEOUT)
        self._conductor.say("arm, guard and reach_pose are up; arming the guard")
        self._conductor.trigger("safety_guard/arm")
        self._conductor.wait("the state ARMED", lambda: self._node.armed, START_TIMEOUT)
        pose = reach.pose_of(config.pose)
        self._leg("reach", f"go to {_text(pose)}", [pose], "reach_pose/reach")
        corners = reach.square(self._node.tool(), config.side, config.plane)
        self._leg("square", f"trace {1000 * config.side:.0f} mm in {config.plane}", list(corners), "reach_pose/trace")
        self._set("linear_speed", 0.8)
        self._set("gain", 1.0)
        self._leg("too fast", "the same at up to 0.8 m/s", list(corners), "reach_pose/trace")
        self._set("linear_speed", config.linear_speed)
        self._set("gain", config.gain)
        self._set("pose", list(BELOW_THE_TABLE))
        low = reach.pose_of(BELOW_THE_TABLE)
        self._leg("into the table", f"go to {_text(low)}, below the table", [low], "reach_pose/reach", give_up=INTO_THE_TABLE_SECONDS)
        self._set("pose", list(config.pose))
        self._leg("back", f"go to {_text(pose)}", [pose], "reach_pose/reach")

    def _leg(self, name: str, asked: str, waypoints: list[Array], service: str, give_up: float | None = None) -> None:
        """Ask for a motion, watch it to its end (or cancel it after `give_up` s), and note how it went."""
        leg = Leg(name, asked, [pose[:3, 3].tolist() for pose in waypoints])
        self._conductor.say(f"{name}: {asked}")
        self._node.begin(leg)
        self._conductor.trigger(service)
        ended = (PlannerStatus.REACHED, PlannerStatus.FAILED, PlannerStatus.CANCELLED)
        if give_up is not None:
            self._conductor.spin_until(lambda: self._node.leg_state in ended, give_up)
            if self._node.leg_state not in ended:
                self._conductor.trigger("reach_pose/cancel")
        self._conductor.wait(f"the end of '{name}'", lambda: self._node.leg_state in ended, LEG_TIMEOUT)
        self._node.end(waypoints[-1])
        self._conductor.say(f"  {leg.outcome}; off by {leg.error_mm:.1f} mm; cut by: {', '.join(leg.cut) or 'nothing'}")

    def _set(self, name: str, value: float | list[float]) -> None:
        future = self._parameters.set_parameters([Parameter(name, value=value)])
        self._conductor.wait(f"setting {name}", future.done, START_TIMEOUT)
        result = future.result()
        if result is None or not result.results[0].successful:
            raise ConductorError(f"reach_pose refused {name}", got=result.results[0].reason if result else "no answer")


def _text(pose: Array) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in pose[:3, 3]) + ") m"


def main() -> int:
    """Run the demonstration; exit status 1 when a leg that should be reached was not."""
    parser = argparse.ArgumentParser(prog="guard_demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/guard_demo"), help="directory of the report")
    folder = parser.parse_args().out
    failed = False
    rclpy.init()
    demonstration = Demonstration("the embedded UR5e-like arm behind its safety guard, real ROS 2 nodes")
    with tempfile.TemporaryDirectory() as own:
        larger = {**read_mapping(CONFIG / "sim_arm.yaml"), "width": PICTURE_SIZE, "height": PICTURE_SIZE, "camera_rate": PICTURE_RATE}
        (Path(own) / "sim_arm.yaml").write_text(yaml.safe_dump(larger), encoding="utf-8")
        try:
            with launched(config=own, model="none") as process:
                await_robot(process)
                Demo(GuardDemoRecorder(demonstration, START_TIMEOUT), process).run()
        except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
            reason = error if isinstance(error, WmError) else "interrupted"
            print(f"guard_demo: {reason}; what was seen until then is in the report", file=sys.stderr)  # noqa: T201
            failed = True
        finally:
            rclpy.try_shutdown()
    speed = read(GuardConfig, CONFIG / "safety_guard.yaml").tool_speed.linear
    for path in write(demonstration, folder, {"guard's limit": speed}):
        print(f"guard_demo: wrote {path}")  # noqa: T201
    wanted = [leg for leg in demonstration.legs if leg.name != "into the table"]
    return 0 if not failed and all(leg.reached for leg in wanted) else 1
