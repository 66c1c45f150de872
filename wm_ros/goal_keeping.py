"""Asks the controller to keep what its camera sees as a goal: the recorder has no encoder of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from rclpy.timer import Timer

from wm_ros.lifecycle import WmNode
from wm_ros.srv import SaveGoal

SERVICE, PATIENCE = "mpc_controller/save_goal", 10.0  # s


class GoalKeeping:
    """One client, from `configure` to `cleanup`; `say` is told what came of each goal, and whether that is an error."""

    def __init__(self, node: WmNode[Any], say: Callable[[str, bool], None]) -> None:
        self._node, self._say = node, say
        self._client, self._service = node.create_client(SaveGoal, SERVICE), node.resolve_service_name(SERVICE)

    def ask(self, name: str) -> None:
        """Keep the view of this moment under a name; the answer is said when it comes, or that none came."""
        if not self._client.service_is_ready():
            self._say(f"goal '{name}' is not kept: nobody offers {self._service}; start mpc_controller, then ask again", True)
            return
        future = self._client.call_async(SaveGoal.Request(name=name))
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        waiting = self._node.create_timer(PATIENCE, lambda: self._give_up(name, future, waiting), clock=steady)
        future.add_done_callback(lambda done: self._answered(name, done, waiting))

    def close(self) -> None:
        self._node.destroy_client(self._client)

    def _answered(self, name: str, done: Future, waiting: Timer) -> None:
        self._node.destroy_timer(waiting)
        answer = done.result()
        if answer is not None:
            text = f"goal '{name}' is kept in {answer.message}" if answer.success else f"goal '{name}' is not kept: {answer.message}"
            self._say(text, not answer.success)

    def _give_up(self, name: str, future: Future, waiting: Timer) -> None:
        self._node.destroy_timer(waiting)
        self._client.remove_pending_request(future)
        self._say(f"goal '{name}' may not be kept: {self._service} did not answer within {PATIENCE:g} s; ask again", True)
