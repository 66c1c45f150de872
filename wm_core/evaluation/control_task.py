"""Seeded tasks for the embedded arm, each with a goal as a picture: reach a place, reach it turned, or push an object to where it is shown.

Only the judge knows where the tool and the objects are; a policy is given the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wm_core.configuration import setting
from wm_core.data.motion import Delta, MotionLimits, PushMotion, Situation, Space, towards
from wm_core.errors import ConfigurationError
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array
from wm_core.simulation.camera import Picture
from wm_core.simulation.embedded_arm import EmbeddedArm, Snapshot
from wm_core.simulation.scene import CAMERAS, OBJECTS

KINDS = ("reach", "turn", "push")
ROOM = 0.015  # metres between a goal and the walls of the workspace
TURN_SPEED = 0.5  # rad/s, at which tasks are prepared
TRIES = 200


@dataclass(frozen=True)
class TaskConfig:
    """What is asked of the arm."""

    kind: str = setting("reach: a place; turn: a place and an orientation; push: an object to a place", choices=KINDS)
    trials: int = setting("Tasks, each with its own layout of objects", low=1, high=10_000)
    seed: int = setting("What every task is drawn from; another one than any that data were collected with", low=0, high=2**31 - 1)
    nearest: float = setting("Least distance of the tool from the goal at the start", unit="m", low=0.0, high=1.0)
    farthest: float = setting("Largest distance of the tool from the goal at the start", unit="m", low=0.01, high=1.0)
    turn: float = setting("Largest rotation between start and goal about each axis, for kind turn", unit="rad", low=0.0, high=1.0)
    camera: str = setting("Camera that sees the goal and the scene", choices=CAMERAS)
    rate: float = setting("Steps of control per second", unit="Hz", low=1.0, high=50.0)
    speed: float = setting("Speed at which tasks are prepared", unit="m/s", low=0.01, high=1.0)

    def __post_init__(self) -> None:
        if self.nearest >= self.farthest:
            raise ConfigurationError("no distance is left to draw", got=self.nearest, allowed=f"below {self.farthest}", mend="nearest")


@dataclass(frozen=True)
class Task:
    """Where the arm is put, the picture (H, W, 3) of the goal, and what the judge knows: the tool's pose and the objects' places there."""

    index: int
    kind: str
    start: Snapshot
    picture: Picture
    tool: Array
    objects: dict[str, Array]
    moved: str = ""

    def errors(self, arm: EmbeddedArm) -> tuple[float, float, float]:
        """Of the tool, m and rad, and of the object that is to be moved, m (0 where none is)."""
        error = rotation.pose_error(self.tool, arm.tool_pose())
        away = 0.0
        if self.moved:
            away = float(np.linalg.norm(arm.object_poses()[self.moved][:3, 3] - self.objects[self.moved]))
        return float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:])), away


def tasks(config: TaskConfig, arm: EmbeddedArm) -> Iterator[Task]:
    """The tasks one by one; task i depends on the seed and on i alone. The arm is left at the start of the task."""
    for index in range(config.trials):
        yield task(config, arm, index)


def task(config: TaskConfig, arm: EmbeddedArm, index: int) -> Task:
    """One of them."""
    generator = np.random.default_rng([config.seed, KINDS.index(config.kind), index])
    arm.reset(int(generator.integers(2**31)))
    make = _push if config.kind == "push" else _reach
    return make(config, arm, generator, index)


@dataclass(frozen=True)
class Reaching:
    """What a task of kind reach or turn is made from: the seed that the arm is reset with, and the tool's poses (4, 4)."""

    seed: int
    goal: Array
    start: Array
    height: float  # m, at which the tool passes above everything


def reaching(config: TaskConfig, arm: EmbeddedArm, index: int) -> Reaching:
    """The same as of `task`, for an arm that is moved by somebody else; this one is left as it was reset."""
    generator = np.random.default_rng([config.seed, KINDS.index(config.kind), index])
    seed = int(generator.integers(2**31))
    arm.reset(seed)
    goal, start = _ends(config, arm, generator)
    return Reaching(seed, goal, start, arm.config.workspace.high[2] - ROOM)


def _ends(config: TaskConfig, arm: EmbeddedArm, generator: np.random.Generator) -> tuple[Array, Array]:
    """Goal and start (4, 4); the goal is drawn first, so that goals fill the box evenly, and the start lies around it."""
    space = _space(config, arm)
    for _ in range(TRIES):
        goal, start = (space.draw(generator, _places(arm)) for _ in range(2))
        if config.nearest <= np.linalg.norm(goal[:3, 3] - start[:3, 3]) <= config.farthest:
            break
    else:
        raise ConfigurationError("the box has no two places so far apart", got=config.nearest, mend="nearest and farthest")
    turned = generator.uniform(-config.turn, config.turn, 3) if config.kind == "turn" else np.zeros(3)
    return rotation.pose(goal[:3, 3], rotation.matrix(turned) @ DOWN), rotation.pose(start[:3, 3], DOWN)


def _reach(config: TaskConfig, arm: EmbeddedArm, generator: np.random.Generator, index: int) -> Task:
    """The arm goes to the goal for its picture, and to the start."""
    space, (goal, start) = _space(config, arm), _ends(config, arm, generator)
    clear = 0.5 * (space.high + space.low) * [1.0, 1.0, 0.0] + [0.0, 0.0, space.high[2]]
    _go(arm, rotation.pose(clear, DOWN), config)
    _over(arm, goal, config)
    picture, tool, objects = arm.render(config.camera), arm.tool_pose(), _by_name(arm)
    _over(arm, start, config)
    return Task(index, config.kind, arm.snapshot(), picture, tool, objects)


def _push(config: TaskConfig, arm: EmbeddedArm, generator: np.random.Generator, index: int) -> Task:
    """The goal is where a scripted push leads; the start is behind the object."""
    space = _space(config, arm)
    for _ in range(TRIES):
        motion = PushMotion(space, generator, OBJECTS)
        pose, gripper = motion.begin(_situation(arm))
        arm.command_gripper(gripper)
        _over(arm, pose, config)
        start, before = arm.snapshot(), _by_name(arm)
        for _ in range(round(3.0 * config.rate)):
            delta = motion.step(_situation(arm))
            if delta.translation[2] > 0.5 * space.limits.step:  # the push is over: the tool is being lifted
                break
            _step(arm, delta, config)
        arm.advance(round(0.4 * config.rate) / config.rate)
        after = _by_name(arm)
        ways = {name: float(np.linalg.norm(after[name] - before[name])) for name in OBJECTS}
        moved = max(ways, key=lambda name: ways[name])
        if config.nearest <= ways[moved] <= config.farthest:
            task = Task(index, config.kind, start, arm.render(config.camera), arm.tool_pose(), after, moved)
            arm.restore(start)
            return task
        arm.reset(int(generator.integers(2**31)))
    raise ConfigurationError("no push moved an object so far", got=config.nearest, mend="nearest and farthest")


def _space(config: TaskConfig, arm: EmbeddedArm) -> Space:
    box = arm.config.workspace
    limits = MotionLimits(step=config.speed / config.rate, turn=TURN_SPEED / config.rate, tilt=0.0, yaw=0.0)
    return Space(np.array(box.low) + ROOM, np.array(box.high) - ROOM, limits)


def _over(arm: EmbeddedArm, pose: Array, config: TaskConfig) -> None:
    """Up, across above the objects, and down."""
    height = arm.config.workspace.high[2] - ROOM
    for place in (arm.commanded_pose(), pose):
        raised = place.copy()
        raised[2, 3] = height
        _go(arm, raised, config)
    _go(arm, pose, config)
    arm.advance(round(0.4 * config.rate) / config.rate)


def _go(arm: EmbeddedArm, pose: Array, config: TaskConfig) -> None:
    while np.linalg.norm(rotation.pose_error(pose, tool := arm.commanded_pose())) > 1e-5:
        _step(arm, towards(pose, tool, config.speed / config.rate, TURN_SPEED / config.rate, arm.gripper), config)


def _step(arm: EmbeddedArm, delta: Delta, config: TaskConfig) -> None:
    """The gripper stays as it was told to be."""
    arm.command_delta(delta.translation, delta.rotation, None, 1.0 / config.rate)
    arm.advance(1.0 / config.rate)


def _situation(arm: EmbeddedArm) -> Situation:
    return Situation(arm.commanded_pose(), _places(arm))


def _places(arm: EmbeddedArm) -> Array:
    return np.array(list(_by_name(arm).values()))


def _by_name(arm: EmbeddedArm) -> dict[str, Array]:
    return {name: arm.object_poses()[name][:3, 3].copy() for name in OBJECTS}
