"""`ros2 run wm_ros demo`: the mission. Brings up the whole system, gives it goals as pictures, and writes down how the arm reaches them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from sensor_msgs.msg import Image

from wm_core.configuration import read
from wm_core.errors import WmError
from wm_core.evaluation.mission_report import Attempt, Mission, write
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array
from wm_core.simulation.sim_config import SimConfig
from wm_ros.conductor import START_TIMEOUT, Conductor, await_robot, launched
from wm_ros.goal_driver import GoalDriver
from wm_ros.images import picture
from wm_ros.mission_recorder import MissionRecorder

RCLError: type[Exception] = rclpy_implementation.RCLError
GOAL_TIMEOUT = 40.0  # s
NEAREST, FARTHEST, ROOM = 0.15, 0.35, 0.02  # m; starts lie around their goals, and both this far inside the walls


class Demo:
    """For each goal: look at it, go away, and ask for the picture."""

    def __init__(self, node: MissionRecorder, conductor: Conductor, mission: Mission) -> None:
        self._node, self._conductor, self._mission = node, conductor, mission
        self._driver = GoalDriver(node, conductor)

    def run(self, places: list[tuple[Array, Array]]) -> None:
        """Every (goal, start) pair of places (3,) m."""
        say = self._conductor.say
        self._conductor.wait("the whole system", self._node.ready, START_TIMEOUT)
        say("arm, guard, encoder and controller are up; arming the guard")
        self._conductor.trigger("safety_guard/arm")
        self._conductor.wait("the state ARMED", lambda: self._node.armed)
        for number, (goal, start) in enumerate(places, start=1):
            self._driver.go(rotation.pose(goal, DOWN))
            view = self._driver.look()
            self._driver.go(rotation.pose(start, DOWN))
            self._driver.look()
            attempt = Attempt(f"goal {number}", 100.0 * float(np.linalg.norm(goal - start)), pictures={"goal": picture(view)})
            self._mission.attempts.append(attempt)
            if not self._mission.plan_only:
                self._mission.plan_only = self._plan_only(view)
                say(f"a plan without moving: {self._mission.plan_only}")
            say(f"{attempt.name}: {attempt.start_cm:.0f} cm away, given as a picture")
            self._reach(attempt, goal, view)
            say(f"  {attempt.outcome} after {attempt.seconds:.1f} s; the tool is {attempt.end_cm:.1f} cm from where the picture was taken")

    def _plan_only(self, view: Image) -> str:
        before = self._node.tool
        answer = self._driver.ask(view, execute=False)
        moved = float(np.linalg.norm(self._node.tool[:3, 3] - before[:3, 3])) if before is not None and self._node.tool is not None else 0.0
        return (
            f"{len(answer.plan)} steps, cost {answer.start_cost:.2f} to {answer.predicted_cost:.2f}, the tool moved {1000 * moved:.1f} mm"
        )

    def _reach(self, attempt: Attempt, goal: Array, view: Image) -> None:
        self._node.begin(attempt, goal)
        answer = self._driver.ask(view, execute=True)
        attempt.pictures["imagined"] = picture(answer.imagined) if answer.imagined.data else attempt.pictures["start"]
        self._conductor.wait(f"the end of {attempt.name}", lambda: self._node.ended("mpc_controller", answer.goal_id), GOAL_TIMEOUT)
        self._node.end(attempt)


def places_of(seed: int, count: int) -> list[tuple[Array, Array]]:
    """Goals and starts in the box of the embedded arm."""
    box = read(SimConfig, Path(get_package_share_directory("wm_ros")) / "config" / "sim_arm.yaml").workspace
    generator, found = np.random.default_rng(seed), list[tuple[Array, Array]]()
    low, high = np.array(box.low) + ROOM + [0.0, 0.0, 0.08], np.array(box.high) - ROOM  # above the objects, which are not to be pushed
    while len(found) < count:
        goal, start = generator.uniform(low, high, (2, 3))
        if NEAREST <= np.linalg.norm(goal - start) <= FARTHEST:
            found.append((goal, start))
    return found


def main() -> int:
    """Run the mission; exit status 1 when a goal was not reached."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="directory of the report")
    parser.add_argument("--goals", type=int, default=3, help="how many goals (default: 3)")
    parser.add_argument("--seed", type=int, default=11, help="what the goals are drawn from (default: 11)")
    parser.add_argument("--model", default="", help="the launch argument model (default: as encoder.yaml and mpc_controller.yaml say)")
    chosen = parser.parse_args()
    failed, mission = False, Mission(chosen.model or "as mpc_controller.yaml says")
    rclpy.init()
    try:
        with launched(model=chosen.model) as process:
            await_robot(process)
            node = MissionRecorder(START_TIMEOUT)
            Demo(node, Conductor(node, process), mission).run(places_of(chosen.seed, chosen.goals))
    except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
        print(f"demo: {error if isinstance(error, WmError) else 'interrupted'}; what was seen until then is in the report", file=sys.stderr)  # noqa: T201
        failed = True
    finally:
        rclpy.try_shutdown()
    for path in write(mission, chosen.out):
        print(f"demo: wrote {path}")  # noqa: T201
    return 0 if not failed and all(attempt.reached for attempt in mission.attempts) else 1
