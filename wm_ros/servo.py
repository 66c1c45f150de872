"""MoveIt Servo's handshake: it takes twists only after its command type was switched to TWIST and it was unpaused."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from std_srvs.srv import SetBool

from wm_core.errors import ConfigurationError

RETRY_PERIOD = 1.0


class ServoHandshake:
    """Asks the Servo node until both answers are yes, and again when it was away; `missing` says what is not there yet."""

    def __init__(self, node: LifecycleNode, servo: str) -> None:
        try:
            from moveit_msgs.srv import ServoCommandType
        except ImportError as error:
            raise ConfigurationError(
                "output kind 'twist' needs the messages of MoveIt", got=error, mend="install ros-jazzy-moveit-msgs, or choose another kind"
            ) from error
        self._node, self._servo, self._type = node, servo, ServoCommandType
        self._switch = node.create_client(ServoCommandType, f"{servo}/switch_command_type")
        self._pause = node.create_client(SetBool, f"{servo}/pause_servo")
        self._done: set[str] = set()
        self._waiting: set[str] = set()
        self._timer = node.create_timer(RETRY_PERIOD, self._ask)

    @property
    def missing(self) -> str:
        """What Servo has not yet agreed to; empty when it takes twists."""
        left = [what for what in ("switch_command_type", "pause_servo") if what not in self._done]
        return f"MoveIt Servo has not answered on {', '.join(f'{self._servo}/{what}' for what in left)}" if left else ""

    def close(self) -> None:
        """Take the clients back."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_client(self._switch)
        self._node.destroy_client(self._pause)

    def _ask(self) -> None:
        request = self._type.Request(command_type=int(self._type.Request.TWIST))
        self._call("switch_command_type", self._switch, request)
        if "switch_command_type" in self._done:
            self._call("pause_servo", self._pause, SetBool.Request(data=False))

    def _call(self, what: str, client: Any, request: Any) -> None:
        if not client.service_is_ready():
            self._done.discard(what)
            self._waiting.discard(what)
            return
        if what in self._done or what in self._waiting:
            return
        self._waiting.add(what)

        def answered(future: Future) -> None:
            self._waiting.discard(what)
            answer = future.result()
            if answer is not None and answer.success:
                self._done.add(what)
            else:
                self._node.get_logger().error(f"{self._servo}/{what} refused", throttle_duration_sec=5.0)

        client.call_async(request).add_done_callback(answered)
