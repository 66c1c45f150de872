"""Node `play_bag`: publishes the messages of a bag as they were timed; the embedded ROS 2 has no `ros2 bag play`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from wm_core.data.bag import Bag
from wm_core.errors import WmError
from wm_ros.capture import CLASSES
from wm_ros.robot_description import LATCHED

DISCOVERY = 20.0  # s that listeners are waited for
DEPTH = 200
PLAYED = CLASSES | {"std_msgs/msg/String": String}


def play(bag: Bag, node: Node, rate: float, wait: bool) -> dict[str, int]:
    """Publish every message of a known type; returns how many were published on each topic."""
    bag.require()
    publishers: dict[str, Publisher] = {
        topic: node.create_publisher(PLAYED[kind], topic, LATCHED if topic.endswith("/robot_description") else QoSProfile(depth=DEPTH))
        for topic, kind in bag.topics.items()
        if kind in PLAYED
    }
    until = time.monotonic() + DISCOVERY
    while wait and time.monotonic() < until and not all(one.get_subscription_count() for one in publishers.values()):
        rclpy.spin_once(node, timeout_sec=0.1)
    counts, offset = dict.fromkeys(publishers, 0), 0.0
    for heard in bag.messages():
        if heard.topic not in publishers:
            continue
        offset = offset or time.monotonic() - heard.received / rate
        time.sleep(max(0.0, heard.received / rate + offset - time.monotonic()))
        publishers[heard.topic].publish(heard.data)
        counts[heard.topic] += 1
    for one in publishers.values():
        one.wait_for_all_acked()
    return counts


def main() -> None:
    """`ros2 run wm_ros play_bag BAG [--rate R] [--wait]`."""
    parser = argparse.ArgumentParser(prog="play_bag", description=__doc__)
    parser.add_argument("bag", type=Path, help="a rosbag2 directory, or an .mcap file")
    parser.add_argument("--rate", type=float, default=1.0, help="times real time (default: 1)")
    parser.add_argument("--wait", action="store_true", help="begin when somebody listens to every topic, at the latest after 20 s")
    chosen = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    node = Node("play_bag")
    try:
        counts = play(Bag(chosen.bag), node, chosen.rate, chosen.wait)
        each = ", ".join(f"{count} x {topic}" for topic, count in counts.items())
        node.get_logger().info(f"{sum(counts.values())} messages were published: {each}")
    except WmError as error:
        sys.exit(f"play_bag: {error}")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
