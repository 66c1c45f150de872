"""`ros2 run wm_ros demo`: launches the arm behind its guard, moves it, provokes the guard, and writes down what happened."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import rclpy
import yaml
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from std_srvs.srv import Trigger

from wm_core.configuration import read, read_mapping
from wm_core.errors import WmError
from wm_core.evaluation.demo_report import Demonstration, Leg, write
from wm_core.robot import reach
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.reach import ReachConfig
from wm_core.robot.rotation import Array
from wm_ros.demo_recorder import DemoRecorder
from wm_ros.msg import PlannerStatus

RCLError: type[Exception] = rclpy_implementation.RCLError
# Larger pictures than the default's for the report, but seldom: they cost time that the nodes need.
PICTURE_SIZE, PICTURE_RATE = 240, 2.0
START_TIMEOUT, LEG_TIMEOUT = 60.0, 60.0
ATTEMPTS, ANSWER_TIMEOUT = 4, 5.0
CONFIG = Path(get_package_share_directory("wm_ros")) / "config"
BELOW_THE_TABLE = (0.5, 0.0, -0.10, 3.14159, 0.0, 0.0)
INTO_THE_TABLE_SECONDS = 4.0


class DemoError(WmError):
    """The demonstration could not go on."""


class Demo:
    """Drives the nodes as a user would: through their services and topics."""

    def __init__(self, node: DemoRecorder, launched: subprocess.Popen[bytes]) -> None:
        self._node, self._launched = node, launched
        self._parameters = AsyncParameterClient(node, "reach_pose")

    def run(self) -> None:
        """Every leg of the demonstration."""
        config = read(ReachConfig, CONFIG / "reach_pose.yaml")
        self._wait("the nodes", lambda: self._node.ready(), START_TIMEOUT)
        self._say("arm, guard and reach_pose are up; arming the guard")
        self._call("safety_guard/arm")
        self._wait("the state ARMED", lambda: self._node.armed, START_TIMEOUT)
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
        self._say(f"{name}: {asked}")
        self._node.begin(leg)
        self._call(service)
        ended = (PlannerStatus.REACHED, PlannerStatus.FAILED, PlannerStatus.CANCELLED)
        if give_up is not None:
            self._node.spin_until(lambda: self._node.leg_state in ended, give_up)
            if self._node.leg_state not in ended:
                self._call("reach_pose/cancel")
        self._wait(f"the end of '{name}'", lambda: self._node.leg_state in ended, LEG_TIMEOUT)
        self._node.end(waypoints[-1])
        self._say(f"  {leg.outcome}; off by {leg.error_mm:.1f} mm; cut by: {', '.join(leg.cut) or 'nothing'}")

    def _call(self, service: str) -> None:
        client = self._node.create_client(Trigger, service)
        self._wait(f"the service {service}", client.service_is_ready, START_TIMEOUT)
        future = client.call_async(Trigger.Request())
        # DDS drops an answer whose reader the server has not discovered yet; every request here may be made twice.
        for _ in range(ATTEMPTS - 1):
            if self._node.spin_until(future.done, ANSWER_TIMEOUT):
                break
            future = client.call_async(Trigger.Request())
        self._wait(f"the answer of {service}", future.done, ANSWER_TIMEOUT)
        answer = future.result()
        self._node.destroy_client(client)
        if answer is None or not answer.success:
            raise DemoError(f"{service} refused", got=answer.message if answer else "no answer")

    def _set(self, name: str, value: float | list[float]) -> None:
        future = self._parameters.set_parameters([Parameter(name, value=value)])
        self._wait(f"setting {name}", future.done, START_TIMEOUT)
        result = future.result()
        if result is None or not result.results[0].successful:
            raise DemoError(f"reach_pose refused {name}", got=result.results[0].reason if result else "no answer")

    def _wait(self, what: str, there: Callable[[], bool], timeout: float) -> None:
        ended = lambda: self._launched.poll() is not None  # noqa: E731
        if not self._node.spin_until(lambda: there() or ended(), timeout):
            raise DemoError(f"{what} did not come within {timeout:g} s", mend="look at the messages of the nodes above")
        if ended():
            raise DemoError(
                f"the launch ended before {what} came", got=f"exit status {self._launched.returncode}", mend="look at its messages above"
            )

    def _say(self, text: str) -> None:
        print(f"demo: {text}", flush=True)  # noqa: T201 this is the program's own output


def _text(pose: Array) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in pose[:3, 3]) + ") m"


def launch(config: Path) -> subprocess.Popen[bytes]:
    """The launch file in a session of its own; SIGINT to it ends every node in order."""
    command = ["ros2", "launch", "-n", "wm_ros", "mpc_arm.launch.py", f"config:={config}"]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)


def stop(launched: subprocess.Popen[bytes]) -> None:
    """End the launch with its nodes; after 15 s without mercy."""
    launched.send_signal(signal.SIGINT)
    try:
        launched.wait(timeout=15.0)
    except subprocess.TimeoutExpired:
        launched.kill()
        launched.wait()
    with contextlib.suppress(ProcessLookupError):  # the session is empty when launch ended its nodes, as it should
        os.killpg(launched.pid, signal.SIGKILL)


def main() -> int:
    """Run the demonstration; exit status 1 when a leg that should be reached was not."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="directory of the report")
    folder = parser.parse_args().out
    failed = False
    rclpy.init()
    demonstration = Demonstration("the embedded UR5e-like arm behind its safety guard, real ROS 2 nodes")
    with tempfile.TemporaryDirectory() as own:
        larger = {**read_mapping(CONFIG / "sim_arm.yaml"), "width": PICTURE_SIZE, "height": PICTURE_SIZE, "camera_rate": PICTURE_RATE}
        (Path(own) / "sim_arm.yaml").write_text(yaml.safe_dump(larger), encoding="utf-8")
        launched = launch(Path(own))
        try:
            Demo(DemoRecorder(demonstration, START_TIMEOUT), launched).run()
        except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
            reason = error if isinstance(error, WmError) else "interrupted"
            print(f"demo: {reason}; what was seen until then is in the report", file=sys.stderr)  # noqa: T201
            failed = True
        finally:
            stop(launched)
            rclpy.try_shutdown()
    speed = read(GuardConfig, CONFIG / "safety_guard.yaml").tool_speed.linear
    for path in write(demonstration, folder, {"guard's limit": speed}):
        print(f"demo: wrote {path}")  # noqa: T201
    wanted = [leg for leg in demonstration.legs if leg.name != "into the table"]
    return 0 if not failed and all(leg.reached for leg in wanted) else 1
