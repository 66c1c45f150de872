"""Bringing the system up and driving it from outside, as a user would: the launch file, services, and waiting for what was asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.node import Node
from std_srvs.srv import Trigger

from wm_core.errors import WmError

START_TIMEOUT = 60.0
ATTEMPTS, ANSWER_TIMEOUT = 4, 5.0


class ConductorError(WmError):
    """What was asked of the running system did not happen."""


@contextmanager
def launched(**arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """The launch file in a session of its own, with NAME:=VALUE arguments (empty: its default); every node ends with the block."""
    words = [f"{name}:={value}" for name, value in arguments.items() if value != ""]
    with _started(["ros2", "launch", "-n", "wm_ros", "mpc_arm.launch.py", *words]) as process:
        yield process


@contextmanager
def running(executable: str, **parameters: object) -> Iterator[subprocess.Popen[bytes]]:
    """A node of its own beside the launch file, with these parameters; it ends with the block."""
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    place = Path(get_package_prefix("wm_ros")) / "lib" / "wm_ros" / executable
    with _started([str(place), "--ros-args", *words]) as process:
        yield process


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a session of its own."""
    process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGINT ends every node in order; after 15 s without mercy."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=15.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):  # the session is empty when launch ended its nodes, as it should
        os.killpg(process.pid, signal.SIGKILL)


def await_robot(process: subprocess.Popen[bytes]) -> None:
    """Until the launched arm says what it is."""
    node = Node("conductor")
    try:
        Conductor(node, process).wait("robot_description", lambda: node.count_publishers("robot_description") > 0)
    finally:
        node.destroy_node()


class Conductor:
    """Asks the launched nodes for something and waits, with a bound, until it is there; `node` is spun meanwhile."""

    def __init__(self, node: Node, process: subprocess.Popen[bytes]) -> None:
        self._node, self._process = node, process

    def spin_until(self, there: Callable[[], bool], timeout: float) -> bool:
        """Handle messages until `there` or until `timeout` s have passed."""
        deadline = time.monotonic() + timeout
        while not there():
            left = deadline - time.monotonic()
            if left <= 0.0:
                return False
            rclpy.spin_once(self._node, timeout_sec=min(left, 0.1))
        return True

    def wait(self, what: str, there: Callable[[], bool], timeout: float = START_TIMEOUT) -> None:
        """Until `there`; that it takes too long, or that the launch ended, is an error that names `what`."""
        ended = lambda: self._process.poll() is not None  # noqa: E731
        if not self.spin_until(lambda: there() or ended(), timeout):
            raise ConductorError(f"{what} did not come within {timeout:g} s", mend="look at the messages of the nodes above")
        if ended():
            raise ConductorError(
                f"the launch ended before {what} came", got=f"exit status {self._process.returncode}", mend="look at its messages above"
            )

    def ask(self, kind: Any, service: str, request: Any, within: float = ANSWER_TIMEOUT) -> Any:
        """The answer of a service; a request that is not answered within `within` s is made again, so it must bear being made twice."""
        client = self._node.create_client(kind, service)
        self.wait(f"the service {service}", client.service_is_ready)
        future = client.call_async(request)
        # DDS drops an answer whose reader the server has not discovered yet.
        for _ in range(ATTEMPTS - 1):
            if self.spin_until(future.done, within):
                break
            future = client.call_async(request)
        self.wait(f"the answer of {service}", future.done, within)
        self._node.destroy_client(client)
        return future.result()

    def trigger(self, service: str) -> None:
        """A std_srvs/Trigger that must succeed."""
        answer = self.ask(Trigger, service, Trigger.Request())
        if not answer.success:
            raise ConductorError(f"{service} refused", got=answer.message)

    def say(self, text: str) -> None:
        """Progress, for the person who waits."""
        print(f"{self._node.get_name()}: {text}", flush=True)  # noqa: T201 this is the program's own output
