"""What would have happened: from one start of the embedded arm, many candidate action sequences are carried out one after the other.

A planner has to choose among such candidates without carrying any out; here all are, so that its choice can be judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wm_core.configuration import setting
from wm_core.data.motion import MotionLimits, Situation, Space, WaypointMotion
from wm_core.errors import ConfigurationError
from wm_core.planning.bounds import Bounds, StepLimits, ToolState
from wm_core.robot.proprioception import action_row, state_row
from wm_core.robot.rotation import Array
from wm_core.simulation.camera import Picture
from wm_core.simulation.embedded_arm import EmbeddedArm, Snapshot
from wm_core.simulation.scene import CAMERAS, OBJECTS
from wm_core.simulation.sim_config import SimConfig

FREE = 3.1416  # rad: no rotation vector is longer
LEAD_IN = 30  # commands before the context, which bring the tool somewhere else than home


@dataclass(frozen=True)
class TrialConfig:
    """Starts, and the candidates of each."""

    starts: int = setting("Starts, each with its own layout of objects and its own goal", low=2, high=10_000, default=24)
    candidates: int = setting("Action sequences that are carried out from each start", low=4, high=10_000, default=64)
    horizon: int = setting("Actions of a sequence", low=1, high=100, default=5)
    context: int = setting("Frames that the model sees before it imagines", low=1, high=256, default=8)
    shared: float = setting("Share of the variance of actions that all steps of a sequence have in common", low=0.0, high=1.0, default=0.7)
    control_rate: int = setting("Commands per second of simulated time, as when data were collected", unit="Hz", low=1, high=50, default=10)
    camera: str = setting("Camera of the embedded arm", choices=CAMERAS, default="front")
    step: float = setting("Largest translation of one command", unit="m", low=0.001, high=0.1, default=0.04)
    turn: float = setting("Largest rotation of one command", unit="rad", low=0.0, high=0.5, default=0.12)
    seed: int = setting("What every start, goal and candidate is drawn from", low=0, high=2**31 - 1, default=5)


@dataclass(frozen=True)
class Trial:
    """One start. T frames of context, N candidates of H actions, and where each led.

    Actions are translation (m), rotation vector (rad), opening; actions[T - 1] belongs to the candidates and is zero.
    """

    frames: NDArray[np.uint8]  # (T, height, width, 3)
    actions: Array  # (T, 7)
    states: Array  # (T, 13), as proprioception.state_row makes them
    candidates: Array  # (N, H, 7)
    ends: NDArray[np.uint8]  # (N, height, width, 3)
    end_tools: Array  # (N, 3) m
    goal: Picture  # (height, width, 3)
    goal_tool: Array  # (3,) m


def trials(config: TrialConfig, arm: SimConfig, spread: Array, fps: float) -> Iterator[Trial]:
    """The starts one by one; a model's frames and actions come `fps` times a second.

    `spread` (6,) is the standard deviation of an action's translation (m) and rotation (rad).
    """
    if np.shape(spread) != (6,) or not np.all(np.isfinite(spread)) or np.any(spread < 0.0):
        raise ConfigurationError("the spread of actions is not valid", got=spread, allowed="6 numbers, 0 or more")
    embedded, commands = EmbeddedArm(arm), commands_per_action(config, fps)
    for index in range(config.starts):
        yield _trial(embedded, config, commands, np.random.default_rng([config.seed, index]), spread)


def commands_per_action(config: TrialConfig, fps: float) -> int:
    """Into how many commands an action is divided."""
    commands = round(config.control_rate / fps)
    if commands < 1 or abs(commands * fps - config.control_rate) > 1e-3:
        allowed = f"a whole part of {config.control_rate} Hz"
        raise ConfigurationError("the rate of a model's frames does not divide that of commands", got=f"{fps:g} Hz", allowed=allowed)
    return commands


def bounds(config: TrialConfig, commands: int, low: tuple[float, float, float], high: tuple[float, float, float]) -> Bounds:
    """Of actions of so many commands each, for a tool that stays in the box low .. high (m) and may turn as it likes."""
    limits = StepLimits(config.step * config.control_rate, config.turn * config.control_rate, low, high, (FREE, FREE, FREE))
    return Bounds(limits, commands / config.control_rate)


def draw_candidates(config: TrialConfig, count: int, spread: Array, generator: np.random.Generator) -> Array:
    """Sequences (count, H, 6) of translations and rotations, as a planner draws its first: part of each action is common to all steps."""
    common = np.sqrt(config.shared) * generator.normal(size=(count, 1, 6))
    own = np.sqrt(1.0 - config.shared) * generator.normal(size=(count, config.horizon, 6))
    return np.asarray((common + own) * spread)


def _trial(arm: EmbeddedArm, config: TrialConfig, commands: int, generator: np.random.Generator, spread: Array) -> Trial:
    arm.reset(int(generator.integers(2**31)))
    frames, actions, states, gripper = _lead_in(arm, config, commands, generator)
    now = arm.snapshot()
    drawn = draw_candidates(config, config.candidates + 1, spread, generator)
    opening, tool, box = np.full((*drawn.shape[:2], 1), gripper), arm.commanded_pose(), arm.config.workspace
    start = ToolState(tool[:3, 3], tool[:3, :3], gripper)
    everything = bounds(config, commands, box.low, box.high).feasible(np.concatenate([drawn, opening], axis=2), start)
    ends, tools = zip(*(_carried_out(arm, now, sequence, config, commands) for sequence in everything), strict=True)
    # The goal is where one more sequence of the same kind led: it can be reached, and by none of the candidates exactly.
    return Trial(frames, actions, states, everything[:-1], np.stack(ends[:-1]), np.stack(tools[:-1]), ends[-1], tools[-1])


def _lead_in(
    arm: EmbeddedArm, config: TrialConfig, commands: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], Array, Array, float]:
    """Move from waypoint to waypoint; the last frames (T, ...), actions (T, 7) and states (T, 13), and the opening that is wanted."""
    limits = MotionLimits(config.step, config.turn, tilt=0.2, yaw=0.8)
    space = Space(np.array(arm.config.workspace.low), np.array(arm.config.workspace.high), limits)
    motion, gripper = WaypointMotion(space, generator), 1.0

    def move(count: int) -> None:
        nonlocal gripper
        for _ in range(count):
            delta = motion.step(_situation(arm))
            gripper = delta.gripper
            _command(arm, config, delta.translation, delta.rotation, gripper)

    motion.begin(_situation(arm))
    move(LEAD_IN)
    frames, poses, states, openings = [], [], [], []
    for frame in range(config.context):
        if frame:
            move(commands)
            openings.append(gripper)
        poses.append(arm.commanded_pose())
        frames.append(arm.render(config.camera))
        states.append(state_row(poses[-1], arm.gripper, arm.joint_positions))
    actions = [action_row(*pair, opening) for pair, opening in zip(pairwise(poses), openings, strict=True)]
    return np.stack(frames), np.array([*actions, np.zeros(7)]), np.array(states), gripper


def _carried_out(arm: EmbeddedArm, start: Snapshot, sequence: Array, config: TrialConfig, commands: int) -> tuple[Picture, Array]:
    """The picture at the end of a sequence (H, 7), and where the tool is then, (3,) m."""
    arm.restore(start)
    for action in np.repeat(sequence, commands, axis=0):
        _command(arm, config, action[:3] / commands, action[3:6] / commands, float(action[6]))
    return arm.render(config.camera), arm.tool_pose()[:3, 3].copy()


def _command(arm: EmbeddedArm, config: TrialConfig, translation: Array, turn: Array, gripper: float) -> None:
    """One command, and the time that it takes."""
    arm.command_delta(translation, turn, gripper, 1.0 / config.control_rate)
    arm.advance(1.0 / config.control_rate)


def _situation(arm: EmbeddedArm) -> Situation:
    poses = arm.object_poses()
    return Situation(arm.commanded_pose(), np.array([poses[name][:3, 3] for name in OBJECTS]))
