"""A companion process that sends everything back: messages from `there/NAME` to `back/NAME`; services answer what was last sent.

Arguments: the topics' and services' type names. A service `package/srv/Name` says each request on `asked/package/srv/Name` and answers
with the newest message from `there/package/srv/Name`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

# A reader that is found late still gets what was said: no message depends on how fast two processes find each other.
LASTING = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def load(name: str) -> Any:
    """The class of package/kind/Name."""
    package, kind, short = name.split("/")
    return getattr(import_module(f"{package}.{kind}"), short)


def echo(node: Node, name: str) -> None:
    kind, newest = load(name), []
    back = node.create_publisher(kind.Response if "/srv/" in name else kind, f"back/{name}", LASTING)

    def hear(message: Any) -> None:
        newest[:] = [message]
        back.publish(message)

    node.create_subscription(back.msg_type, f"there/{name}", hear, LASTING)
    if "/srv/" in name:
        asked = node.create_publisher(kind.Request, f"asked/{name}", LASTING)

        def answer(request: Any, _response: Any) -> Any:
            asked.publish(request)
            return newest[0]

        node.create_service(kind, name, answer)


def main(names: list[str]) -> None:
    rclpy.init(args=[])
    node = Node("echo_node")
    for name in names:
        echo(node, name)
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        node.destroy_node()


if __name__ == "__main__":
    main(sys.argv[1:])
