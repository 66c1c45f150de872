"""The process of a node: start, spin, and an orderly end on SIGINT and SIGTERM while ROS still works."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from wm_ros import dds
from wm_ros.lifecycle import WmNode

# Wakes the loop now and then in any case; signals interrupt it at once.
LONGEST_WAIT = 1.0
# Beyond it the UDP ports of DDS run out.
LARGEST_DOMAIN = 232


def make_executor() -> Executor:
    """The events executor where this rclpy has it (its timers are far more punctual), else the single-threaded one."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def check_domain(value: str) -> str:
    """What is wrong with this ROS_DOMAIN_ID; empty when nothing is. Fast DDS itself ends the process without a usable message."""
    if value.isascii() and value.isdigit() and int(value) <= LARGEST_DOMAIN:
        return ""
    return f"ROS cannot start; got: ROS_DOMAIN_ID={value!r}; allowed: a whole number, 0 .. {LARGEST_DOMAIN}; mend: set another"


def run(make_node: Callable[[], WmNode], *, shared_memory: bool = True) -> None:
    """Run one node until it is told to stop; its `deactivate` can still publish, because ROS is shut down last.

    Without `shared_memory` no other process can hold up this one: right for all that do not carry images.
    """
    fault = check_domain(os.environ.get("ROS_DOMAIN_ID", "") or "0")
    if fault:
        sys.exit(fault)
    if not shared_memory:
        shipped = Path(get_package_share_directory("wm_ros")) / "config"
        dds.avoid_shared_memory(os.environ, rclpy.get_rmw_implementation_identifier(), shipped)
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    told: list[int] = []
    starting = True

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        told.append(signum)
        if starting:  # nothing moves yet, and configuring may wait long for something that never comes
            raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    node = make_node()
    executor = make_executor()
    executor.add_node(node)
    try:
        node.autostart()
        starting = False
        while not told:
            executor.spin_once(timeout_sec=LONGEST_WAIT)
    except KeyboardInterrupt:
        if not told:
            raise
    finally:
        # Whatever ended the loop, an error in a callback too: a node that moves an arm still sends its last word, zero.
        if not starting and not node.finalized:
            node.trigger_shutdown()
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
