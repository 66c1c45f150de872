"""Loss and latency of 640x480 rgb8 images at 30 Hz between two processes, with the shipped DDS profile and with Fast DDS's defaults.

    ./wm exec python benchmarks/images_over_dds.py [--frames 300]

Latency is from just before `publish` to the callback, both on the clock that all processes of a machine share.
"""

from __future__ import annotations

import argparse
import array
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

WIDTH, HEIGHT, RATE = 640, 480, 30.0
TOPIC = "image"
DEPTH = 10
QUIET_AFTER = 3.0  # s without an image after which the rest counts as lost
PATIENCE = 30.0  # s until the first image
PATTERN = (np.arange(HEIGHT * WIDTH * 3) * 7).astype(np.uint8)


@dataclass(frozen=True)
class Result:
    """What arrived of `sent` images; latencies (received) in ms, in order of arrival; `intact` counts those with the right content."""

    sent: int
    intact: int
    latencies: tuple[float, ...]

    @property
    def lost(self) -> int:
        return self.sent - len(self.latencies)


def quality(reliability: str) -> QoSProfile:
    """Of publisher and subscription: "reliable" or "best_effort"."""
    return QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy[reliability.upper()])


def content(number: int) -> np.ndarray:
    """The pixels of an image, (HEIGHT * WIDTH * 3) uint8: other ones for each number."""
    return PATTERN + np.uint8(number % 256)


def send(reliability: str, frames: int) -> None:
    """Publish `frames` images at RATE as soon as somebody listens."""
    rclpy.init(args=[])
    node = Node("image_source")
    publisher = node.create_publisher(Image, TOPIC, quality(reliability))
    message = Image(width=WIDTH, height=HEIGHT, step=WIDTH * 3, encoding="rgb8")
    sent = 0

    def publish_next() -> None:
        nonlocal sent
        if sent >= frames or publisher.get_subscription_count() == 0:
            return
        data = array.array("B")
        data.frombytes(content(sent).tobytes())
        message.data = data
        message.header.frame_id = str(sent)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 10**9)
        publisher.publish(message)
        sent += 1

    node.create_timer(1.0 / RATE, publish_next)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        node.destroy_node()


def receive(domain: int, reliability: str, frames: int) -> Result:
    """Hear what the source sends, until all is there or nothing more comes."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=domain)
    node = Node("image_sink", context=context)
    executor = EventsExecutor(context=context)
    executor.add_node(node)
    latencies: list[float] = []
    intact = 0

    def hear(message: Image) -> None:
        nonlocal intact
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        latencies.append((time.monotonic_ns() - stamp) * 1e-6)
        intact += bool(np.array_equal(np.frombuffer(message.data, np.uint8), content(int(message.header.frame_id))))

    node.create_subscription(Image, TOPIC, hear, quality(reliability))
    quiet_since = time.monotonic()
    while len(latencies) < frames and time.monotonic() - quiet_since < (QUIET_AFTER if latencies else PATIENCE):
        before = len(latencies)
        executor.spin_once(timeout_sec=0.1)
        if len(latencies) > before:
            quiet_since = time.monotonic()
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown()
    context.try_shutdown()
    return Result(frames, intact, tuple(latencies))


def measure(domain: int, reliability: str, frames: int) -> Result:
    """Images from a process of its own to this one; both take the environment as it is."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    source = subprocess.Popen([sys.executable, __file__, "--send", reliability, "--frames", str(frames)], env=environment)
    try:
        return receive(domain, reliability, frames)
    finally:
        source.terminate()
        source.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300, help="images per measurement (default 300)")
    parser.add_argument("--domain", type=int, default=49, help="first ROS domain used (default 49)")
    parser.add_argument("--send", choices=["reliable", "best_effort"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send, chosen.frames)
        return
    print(f"{WIDTH}x{HEIGHT} rgb8 at {RATE:g} Hz, {chosen.frames} images each; latency in ms")
    print(f"{'profile':10} {'quality':12} {'lost':>6} {'p50':>7} {'p99':>7}")
    for name in ("shipped", "Fast DDS"):
        if name == "Fast DDS":
            os.environ.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
        for number, reliability in enumerate(("reliable", "best_effort")):
            result = measure(chosen.domain + number, reliability, chosen.frames)
            spread = np.percentile(result.latencies, [50, 99]) if result.latencies else (float("nan"),) * 2
            print(f"{name:10} {reliability:12} {result.lost:6d} {spread[0]:7.2f} {spread[1]:7.2f}", flush=True)


if __name__ == "__main__":
    main()
