"""Whether commands come at 10 Hz without a gap while plans are made, and how old the newest picture of a plan is when it is ready.

    ./wm exec python benchmarks/command_stream.py [--minutes 10] [--seed 5]

Brings up the launch file and pursues one goal picture after the other, with a tolerance that is never reached, at most 20 s each. Counted
are the 0.1 s ticks between the first and the last command of a goal that had no command. A plan's first command comes at the tick it was
made for, which is at most the longest of the last plans after it was begun. Ends with a status other than 0 when a tick had no command.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from std_srvs.srv import Trigger

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_ros.conductor import START_TIMEOUT, Conductor, await_robot, launched
from wm_ros.conversions import seconds
from wm_ros.demo import places_of
from wm_ros.goal_driver import GoalDriver
from wm_ros.mission_recorder import MissionRecorder
from wm_ros.msg import DeltaEECommand, PlannerStatus

PERIOD, LENGTH = 0.1, 20.0  # s; of a tick, and of one goal
NEVER = 1e-9  # share of the distance at the start at which a goal would count as reached


class Listener:
    """Stamps of the commands of each goal; of each plan how long it took (s), and how old its newest frame was when it was ready (s)."""

    def __init__(self, node):
        self.stamps: dict[str, list[float]] = {}
        self.planning: list[float] = []
        self.ready: list[float] = []
        self._status = None
        node.create_subscription(DeltaEECommand, "delta_command", self.on_command, 100)
        node.create_subscription(PlannerStatus, "mpc_controller/status", self.on_status, 100)

    def on_command(self, message):
        goal = message.plan_id.rpartition(".")[0]
        if not goal.startswith("goal-"):
            return
        stamp = seconds(message.header.stamp)
        self.stamps.setdefault(goal, []).append(stamp)

    def length(self):
        """Of all pursuits together (s)."""
        return sum(stamps[-1] - stamps[0] for stamps in self.stamps.values())

    def on_status(self, message):
        took, age = seconds(message.planning_time), seconds(message.input_age)
        if message.state == PlannerStatus.EXECUTING and (took, age) != self._status:
            self._status = took, age
            self.planning.append(took)
            self.ready.append(took + age)


def missed(stamps):
    """Ticks without a command between the first and the last, and the longest gap (s)."""
    gaps = np.diff(stamps)
    return int(np.maximum(np.round(gaps / PERIOD) - 1, 0).sum()), float(gaps.max(initial=0.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of commands being sent")
    parser.add_argument("--seed", type=int, default=5)
    chosen = parser.parse_args()
    rclpy.init()
    with launched() as process:
        await_robot(process)
        node = MissionRecorder(START_TIMEOUT)
        listener, conductor = Listener(node), Conductor(node, process)
        driver = GoalDriver(node, conductor)
        conductor.wait("the whole system", node.ready, START_TIMEOUT)
        conductor.trigger("safety_guard/arm")
        conductor.wait("the state ARMED", lambda: node.armed)
        begun = time.monotonic()
        for goal, start in places_of(chosen.seed, 1000):
            if listener.length() >= 60.0 * chosen.minutes:
                break
            driver.go(rotation.pose(goal, DOWN))
            picture = driver.look()
            driver.go(rotation.pose(start, DOWN))
            answer = driver.ask(picture, execute=True, tolerance=NEVER)
            conductor.spin_until(lambda answer=answer: node.ended("mpc_controller", answer.goal_id), LENGTH)
            conductor.ask(Trigger, "mpc_controller/cancel", Trigger.Request())  # refused where it has just ended
    rclpy.try_shutdown()
    per_goal = {goal: missed(stamps) for goal, stamps in listener.stamps.items()}
    sent = sum(len(stamps) for stamps in listener.stamps.values())
    print(f"{len(per_goal)} goals, {sent} commands in {listener.length():.0f} s of pursuit ({time.monotonic() - begun:.0f} s in all)")
    lost, longest = sum(count for count, _ in per_goal.values()), max(gap for _, gap in per_goal.values())
    print(f"ticks without a command: {lost}; longest gap {longest:.3f} s")
    print("planning, s: p50 {:.3f}, p95 {:.3f}".format(*np.quantile(listener.planning, [0.5, 0.95])))
    print("newest frame to plan, s: p50 {:.3f}, p95 {:.3f}".format(*np.quantile(listener.ready, [0.5, 0.95])))
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
