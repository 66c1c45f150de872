"""Resetting the embedded arm from outside: home, the objects where a seed puts them, and the guard armed again."""

from __future__ import annotations

from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from wm_ros.conductor import Conductor, ConductorError
from wm_ros.goal_driver import STILL
from wm_ros.mission_recorder import MissionRecorder

ARMINGS = 10


def reset(node: MissionRecorder, conductor: Conductor, seed: int) -> None:
    """The arm at home and the objects where the seed puts them; the guard, which sees the arm jump, is armed again."""
    client = AsyncParameterClient(node, "sim_arm")
    conductor.wait("sim_arm's parameters", client.services_are_ready)
    done = client.set_parameters([Parameter("seed", value=seed)])
    conductor.wait("setting the seed", done.done)
    if not done.result().results[0].successful:
        raise ConductorError("sim_arm refused the seed", got=done.result().results[0].reason)
    conductor.trigger("sim_arm/reset")
    conductor.spin_until(lambda: False, STILL)
    for attempt in range(ARMINGS):
        if conductor.spin_until(lambda: node.armed, STILL):
            return
        try:
            conductor.trigger("safety_guard/arm")
        except ConductorError:
            if attempt == ARMINGS - 1:
                raise
