"""MoveIt Servo as the guard sees it: it takes twists once its command type is TWIST and it is not paused. Run as a process."""

from __future__ import annotations

import rclpy
from geometry_msgs.msg import TwistStamped
from moveit_msgs.srv import ServoCommandType
from rclpy.node import Node
from std_srvs.srv import SetBool


class FakeServo(Node):
    """Answers yes only to what the handshake has to ask; publishes on ~/taken the twists that came after it."""

    def __init__(self) -> None:
        super().__init__("servo_node")
        self._twist, self._paused = False, True
        self._taken = self.create_publisher(TwistStamped, "~/taken", 100)
        self.create_service(ServoCommandType, "~/switch_command_type", self._switch)
        self.create_service(SetBool, "~/pause_servo", self._pause)
        self.create_subscription(TwistStamped, "~/delta_twist_cmds", self._take, 100)

    def _switch(self, request: ServoCommandType.Request, response: ServoCommandType.Response) -> ServoCommandType.Response:
        self._twist = response.success = request.command_type == ServoCommandType.Request.TWIST
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused, response.success = bool(request.data), True
        return response

    def _take(self, message: TwistStamped) -> None:
        if self._twist and not self._paused:
            self._taken.publish(message)


if __name__ == "__main__":
    rclpy.init()
    rclpy.spin(FakeServo())
