"""A companion node: a parameter, a service of our own type, and a message ten times a second."""

from __future__ import annotations

import rclpy
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node
from std_msgs.msg import String

from wm_ros.srv import LoadModel


def load(request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
    response.success, response.code, response.message = True, LoadModel.Response.SUCCESS, f"loaded {request.checkpoint}"
    return response


def main() -> None:
    rclpy.init(args=[])
    node = Node("companion")
    speed = ParameterDescriptor(description="largest speed, m/s", floating_point_range=[FloatingPointRange(from_value=0.0, to_value=2.0)])
    node.declare_parameter("speed", 0.25, speed)
    node.create_service(LoadModel, "load_model", load)
    publisher = node.create_publisher(String, "greeting", 10)
    node.create_timer(0.1, lambda: publisher.publish(String(data="good day")))
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        node.destroy_node()


if __name__ == "__main__":
    main()
