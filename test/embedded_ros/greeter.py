"""A companion process: `greeter.py say` publishes a word again and again; `greeter.py hear SECONDS` succeeds once it hears one."""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String


def say(node: Node) -> bool:
    publisher = node.create_publisher(String, "greeting", 1)
    node.create_timer(0.1, lambda: publisher.publish(String(data="hello")))
    rclpy.spin(node)
    return True


def hear(node: Node, seconds: float) -> bool:
    heard: list[String] = []
    node.create_subscription(String, "greeting", heard.append, 1)
    end = time.monotonic() + seconds
    while not heard and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    return bool(heard)


if __name__ == "__main__":
    # A signal ends it at once: a context that is taken down while the timer publishes raises.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    sys.exit(0 if (say if sys.argv[1] == "say" else hear)(Node(f"greeter_{sys.argv[1]}"), *map(float, sys.argv[2:])) else 1)
