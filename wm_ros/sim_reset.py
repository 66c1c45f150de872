"""Resetting the embedded arm from outside: home, the objects where a seed puts them, and the guard armed again."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from wm_ros.conductor import Conductor, ConductorError
from wm_ros.goal_driver import STILL
from wm_ros.mission_recorder import MissionRecorder

ATTEMPTS = 10


def reset(node: MissionRecorder, conductor: Conductor, seed: int) -> None:
    """The arm at home and the objects where the seed puts them; the guard is not armed while the arm jumps, and armed again then."""
    client = AsyncParameterClient(node, "sim_arm")
    conductor.wait("sim_arm's parameters", client.services_are_ready)
    done = client.set_parameters([Parameter("seed", value=seed)])
    conductor.wait("setting the seed", done.done)
    if not done.result().results[0].successful:
        raise ConductorError("sim_arm refused the seed", got=done.result().results[0].reason)
    _insist(conductor, "safety_guard/disarm", lambda: not node.armed)
    conductor.trigger("sim_arm/reset")
    conductor.spin_until(lambda: False, STILL)
    _insist(conductor, "safety_guard/arm", lambda: node.armed)


def _insist(conductor: Conductor, service: str, done: Callable[[], bool]) -> None:
    """Ask until it is so: an arm that still moves is refused for a moment."""
    for attempt in range(ATTEMPTS):
        try:
            if not done():
                conductor.trigger(service)
        except ConductorError:
            if attempt == ATTEMPTS - 1:
                raise
        if conductor.spin_until(done, STILL):
            return
    raise ConductorError(f"{service} had no effect", got=f"{ATTEMPTS} answers")
