"""How long a plan takes on this machine, measured on a made-up problem before anything moves."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from wm_core.planning.controller import Controller, Mission
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.draft import Drafter, SeeingEvaluator
from wm_core.planning.goal import Goal, goal_of_picture
from wm_core.planning.history import Reading
from wm_core.planning.schedule import Ticks
from wm_core.planning.search import Clock
from wm_core.planning.sight import Sight, Source
from wm_core.robot.robot_config import Robot
from wm_core.vision.encoder import Encoder

TIMES = 3


def rehearse(
    drafter: Drafter,
    evaluators: Callable[[Goal], SeeingEvaluator],
    encoder: Encoder,
    robot: Robot,
    config: ControllerConfig,
    say: Callable[[str], None],
    clock: Clock = time.monotonic,
) -> float:
    """The longest of some plans (s), after one that does not count: the first pass of a network takes longest."""
    size, drawn = encoder.preprocessing.size, np.random.default_rng(0)
    goal, now = (goal_of_picture(encoder, drawn.integers(0, 256, (size, size, 3), dtype=np.uint8), name) for name in ("goal", "now"))
    joints, source = (robot.limits.lower + robot.limits.upper) / 2.0, Source("", encoder.name, encoder.weight_hash, encoder.grid)
    tool = robot.kinematics.tool_pose(joints)

    def seen() -> Sight:
        """Frames that end now, as a camera's do: from old ones a plan would first imagine all that happened since."""
        sight, end = Sight(1e9), clock()
        for index in range(drafter.frames):
            stamp = end + (index - drafter.frames) * drafter.step
            sight.feel(Reading(stamp, tool, config.opening), joints)
            sight.see(stamp, now.latents, source, stamp)
        return sight

    controller = Controller(drafter, seen(), Ticks(clock(), 1.0 / config.pace.rate), clock, config.pace, config.sight, lead=0.0)
    mission = Mission("rehearsal", evaluators(goal), config.pursuit)

    def plan() -> float:
        controller.sight = seen()
        return controller.first(mission).seconds

    say(f"the first plan took {plan():.2f} s")
    return max(plan() for _ in range(TIMES))
