"""A node of the test's own: it hears, sends and calls; time passes only while it waits for something to become true."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as LocalParameter
from rclpy.qos import QoSProfile
from rclpy.timer import Timer
from ros_process import CONFIG
from std_srvs.srv import Trigger

from wm_ros import dds

BATCH = 20
ASK_AGAIN = 3.0  # s
PATIENCE = 20.0  # s; how long an event may take that has no bound of its own


class Observer:
    """Speaks on one ROS domain from the test's process."""

    def __init__(self, domain: int, name: str = "observer") -> None:
        self._context = rclpy.Context()
        with pytest.MonkeyPatch.context() as patch:
            # A newcomer with shared memory takes 2 to 3 s to find the others, one without 0.2 s.
            environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            dds.avoid_shared_memory(environment, rclpy.get_rmw_implementation_identifier(), CONFIG)
            for key, value in environment.items():
                patch.setenv(key, value)
            rclpy.init(context=self._context, domain_id=domain, args=[])
            self.node = Node(name, context=self._context, start_parameter_services=False, enable_rosout=False)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._repeating: list[Timer] = []
        self._clients: dict[str, Any] = {}

    def close(self) -> None:
        self._executor.remove_node(self.node)
        self.node.destroy_node()
        self._executor.shutdown()
        self._context.try_shutdown()

    def now(self) -> float:
        """The ROS clock, s."""
        return self.node.get_clock().now().nanoseconds * 1e-9

    def until[Found](self, condition: Callable[[], Found], what: str | Callable[[], str], within: float = PATIENCE) -> Found:
        """Let ROS work until `condition` returns something true, which is returned; `what` (or its answer then) names it in the failure."""
        deadline = time.monotonic() + within
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: {what if isinstance(what, str) else what()}")
            self._executor.spin_once(timeout_sec=0.02)
            for _ in range(BATCH):  # one call handles one event; the condition may cost more than that
                self._executor.spin_once(timeout_sec=0.0)

    def hear(self, kind: type, topic: str, qos: QoSProfile | int = 1000) -> list[Any]:
        """A list that grows with every message on `topic`."""
        heard: list[Any] = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def sender(self, kind: type, topic: str, qos: QoSProfile | int = 10) -> Callable[[Any], None]:
        """A function that publishes on `topic`."""
        return self.node.create_publisher(kind, topic, qos).publish

    def repeat(self, period: float, action: Callable[[], None]) -> Callable[[], None]:
        """Do `action` every `period` s while waiting; returns the function that ends it, as `silence` does."""
        timer = self.node.create_timer(period, action)
        self._repeating.append(timer)
        return timer.cancel

    def silence(self) -> None:
        """End everything that is repeated."""
        for timer in self._repeating:
            self.node.destroy_timer(timer)
        self._repeating.clear()

    def call(self, kind: type, service: str, request: Any, within: float = PATIENCE, again: float = ASK_AGAIN) -> Any:
        """The answer of a service; asked again when none comes, since DDS drops an answer whose reader it has not discovered yet.

        again (s): longer than what is asked for takes, where doing it twice would keep the next one waiting.
        """
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self.node.create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}", within)
        asked: list[tuple[float, Any]] = []

        def answered() -> Any:
            if not asked or time.monotonic() - asked[-1][0] > again:
                asked.append((time.monotonic(), client.call_async(request)))
            return next((future for _, future in asked if future.done()), None)

        return self.until(answered, f"answer of {service}", within).result()

    def trigger(self, service: str) -> Trigger.Response:
        return self.call(Trigger, service, Trigger.Request())

    def change_state(self, node: str, transition: int) -> bool:
        """Ask a lifecycle node for a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str) -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def set_parameter(self, node: str, name: str, value: Any) -> tuple[bool, str]:
        """Whether a node took a parameter, and its reason."""
        local: ParameterValue = LocalParameter(name, value=value).get_parameter_value()
        request = SetParameters.Request(parameters=[Parameter(name=name, value=local)])
        result = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        return bool(result.successful), str(result.reason)

    def get_parameter(self, node: str, name: str) -> ParameterValue:
        return self.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values[0]

    def topics(self) -> dict[str, list[str]]:
        return dict(self.node.get_topic_names_and_types())


def newest[Message](messages: Iterable[Message], wanted: Callable[[Message], object]) -> Message | None:
    """The last message that is wanted."""
    found = None
    for message in messages:
        found = message if wanted(message) else found
    return found
