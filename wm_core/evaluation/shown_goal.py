"""A goal that the embedded arm shows itself: it goes to a pose, and its camera takes the picture."""

from __future__ import annotations

import numpy as np

from wm_core.data.motion import towards
from wm_core.errors import SimulationError
from wm_core.planning.goal import Goal, goal_of_picture
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.vision.encoder import Encoder

PERIOD, STEP, TURN = 0.1, 0.02, 0.05  # s, m and rad of one step
LONGEST, SETTLE = 300, 0.5  # steps; s at rest before the picture is taken
NEAR = 1e-3  # m and rad


def shown_goal(arm: EmbeddedArm, encoder: Encoder, pose: Array, camera: str, name: str) -> Goal:
    """The goal `name` of the tool at a pose (4, 4), in the layout of objects that the arm has; the arm stays there."""
    for _ in range(LONGEST):
        if np.linalg.norm(rotation.pose_error(pose, arm.commanded_pose())) < NEAR:
            arm.advance(SETTLE)
            return goal_of_picture(encoder, arm.render(camera), name)
        delta = towards(pose, arm.commanded_pose(), STEP, TURN, arm.gripper)
        arm.command_delta(delta.translation, delta.rotation, None, PERIOD)
        arm.advance(PERIOD)
    raise SimulationError("the arm does not get to the pose of the goal", got=pose[:3, 3].tolist(), allowed="a place in its workspace")
