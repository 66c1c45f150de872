"""Collecting data with the embedded arm: seeded episodes of scripted motion, labelled with the actions exactly as they were executed.

Row t holds the picture and the state at one instant and the action that was executed from then to the next row. An unlabelled set holds
pictures and nothing else that tells of the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wm_core.configuration import setting
from wm_core.data.episode import Episode, Frames
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.data.motion import Motion, MotionLimits, Situation, Space, kinds, towards
from wm_core.errors import ConfigurationError
from wm_core.robot import rotation
from wm_core.robot.proprioception import ACTION_NAMES, action_row, state_names, state_row
from wm_core.robot.rotation import Array
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.scene import OBJECTS
from wm_core.simulation.sim_config import SimConfig

ACTION, STATE, OBJECT_STATE = "action", "observation.state", "observation.environment_state"
MOVED = 0.02  # metres: an object that went further counts as moved
SAFE_HEIGHT = 0.26  # metres: on its way to the start of an episode the tool passes above everything
OBJECT_PARTS = ("x", "y", "z", "turn_x", "turn_y", "turn_z")


@dataclass(frozen=True)
class Shares:
    """How much of each kind of motion; the numbers are relative."""

    random: float = setting("Share of episodes with smooth random motion", low=0.0, high=1.0)
    waypoint: float = setting("Share of episodes from waypoint to waypoint", low=0.0, high=1.0)
    pushing: float = setting("Share of episodes that push objects", low=0.0, high=1.0)
    settling: float = setting("Share of episodes that come to a place and stay there", low=0.0, high=1.0, default=0.0)

    def __post_init__(self) -> None:
        if sum(self.parts().values()) <= 0.0:
            raise ConfigurationError("no kind of motion has a share", got=self, mend="raise one of motion.* in config/collect.yaml")

    def draw(self, generator: np.random.Generator) -> str:
        shares = np.array(list(self.parts().values()))
        return str(generator.choice(list(self.parts()), p=shares / shares.sum()))

    def parts(self) -> dict[str, float]:
        """Each kind's share."""
        return asdict(self)


@dataclass(frozen=True)
class CollectConfig:
    """One dataset to collect."""

    episodes: int = setting("Episodes to collect, each with its own layout of objects", low=1, high=100_000)
    frames: int = setting("Rows of an episode", low=2, high=100_000)
    fps: int = setting("Rows, and actions, per second of simulated time", unit="Hz", low=1, high=50)
    seed: int = setting("What every episode's draws come from; another seed, other episodes", low=0, high=99_999)
    labelled: bool = setting("Whether actions and states are written too, or pictures alone")
    cameras: tuple[str, ...] = setting("Cameras that are written", choices=("front", "side", "wrist"))
    motion: Shares = setting("Shares of the kinds of motion")
    limits: MotionLimits = setting("Limits of one step")
    video: VideoSettings = setting("How pictures become video")


@dataclass(frozen=True)
class CollectReport:
    """What was collected: episodes by kind of motion, and in how many of each an object moved."""

    root: Path
    episodes: dict[str, int]
    moved: dict[str, int]

    def moved_share(self, kind: str) -> float:
        return self.moved.get(kind, 0) / max(self.episodes.get(kind, 0), 1)

    def text(self) -> str:
        parts = [f"{count} {kind} (objects moved in {self.moved_share(kind):.0%})" for kind, count in sorted(self.episodes.items())]
        return f"{sum(self.episodes.values())} episodes at {self.root}: {', '.join(parts)}"


@dataclass(frozen=True)
class Take:
    """One collected episode, its kind of motion, and how far the object that moved most went, m."""

    kind: str
    episode: Episode
    moved: float


def collect(config: CollectConfig, arm: SimConfig, out: Path, progress: Callable[[int], None] = lambda done: None) -> CollectReport:
    """Write `config.episodes` episodes of the embedded arm as a LeRobot dataset at `out`, which must not exist yet."""
    episodes: dict[str, int] = {}
    moved: dict[str, int] = {}
    with DatasetWriter(out, layout(config, arm), config.video) as writer:
        for done, take in enumerate(takes(config, arm), start=1):
            writer.write(take.episode if config.labelled else unlabelled(take.episode))
            episodes[take.kind] = episodes.get(take.kind, 0) + 1
            moved[take.kind] = moved.get(take.kind, 0) + (take.moved > MOVED)
            progress(done)
    return CollectReport(out, episodes, moved)


def layout(config: CollectConfig, arm: SimConfig) -> Layout:
    """What the rows of the dataset hold."""
    columns: dict[str, tuple[str, ...]] = {}
    if config.labelled:
        objects = tuple(f"{name}.{part}" for name in OBJECTS for part in OBJECT_PARTS)
        columns = {ACTION: ACTION_NAMES, STATE: state_names(EmbeddedArm.joint_names), OBJECT_STATE: objects}
    cameras = {f"observation.images.{name}": (arm.height, arm.width) for name in config.cameras}
    return Layout(config.fps, "wm_embedded_arm", cameras, columns)


def takes(config: CollectConfig, arm: SimConfig) -> Iterator[Take]:
    """The episodes one by one; episode i depends on the seed and on i alone."""
    embedded = EmbeddedArm(arm)
    space = Space(np.array(arm.workspace.low), np.array(arm.workspace.high), config.limits)
    for index in range(config.episodes):
        generator = np.random.default_rng([config.seed, index])
        embedded.reset(int(generator.integers(2**31)))
        kind = config.motion.draw(generator)
        yield _take(embedded, kind, kinds(OBJECTS)[kind](space, generator), space, config)


def unlabelled(episode: Episode) -> Episode:
    """The same pictures, and nothing else that tells of the arm."""
    return Episode("", episode.stamps, episode.images, {})


def _take(arm: EmbeddedArm, kind: str, motion: Motion, space: Space, config: CollectConfig) -> Take:
    period = 1.0 / config.fps
    pose, gripper = motion.begin(_situation(arm))
    _go_to_start(arm, space, pose, gripper, period)
    pictures: dict[str, list[Frames]] = {name: [] for name in config.cameras}
    stamps, states, objects, actions = [], [], [], []
    for _ in range(config.frames):
        before = arm.commanded_pose()
        for name in config.cameras:
            pictures[name].append(arm.render(name))
        stamps.append(arm.time)
        states.append(state_row(before, arm.gripper, arm.joint_positions))
        objects.append(_object_row(arm))
        delta = motion.step(_situation(arm))
        gripper = delta.gripper
        arm.command_delta(delta.translation, delta.rotation, gripper, period)
        arm.advance(period)
        # What the workspace cut off was not done: the label is what the commanded tool did, not what was asked.
        actions.append(action_row(before, arm.commanded_pose(), gripper))
    columns = {ACTION: np.array(actions), STATE: np.array(states), OBJECT_STATE: np.array(objects)}
    images = {f"observation.images.{name}": np.array(frames) for name, frames in pictures.items()}
    return Take(kind, Episode(motion.task, np.array(stamps), images, columns), _largest_way(columns[OBJECT_STATE]))


def _go_to_start(arm: EmbeddedArm, space: Space, pose: Array, gripper: float, period: float) -> None:
    """Up, across above everything, and down, before the first row; then wait until the arm has caught up and the objects lie still."""
    for goal in (_raised(arm.commanded_pose(), space), _raised(pose, space), pose):
        while np.linalg.norm(rotation.pose_error(goal, arm.commanded_pose())) > 1e-6:
            delta = towards(goal, arm.commanded_pose(), 2.0 * space.limits.step, 0.2, gripper)
            arm.command_delta(delta.translation, delta.rotation, gripper, period)
            arm.advance(period)
    arm.advance(round(0.3 / period) * period)


def _raised(pose: Array, space: Space) -> Array:
    """The pose above everything, as far as the box reaches."""
    above = np.clip([pose[0, 3], pose[1, 3], max(pose[2, 3], SAFE_HEIGHT)], space.low, space.high)
    return rotation.pose(above, pose[:3, :3])


def _situation(arm: EmbeddedArm) -> Situation:
    poses = arm.object_poses()
    return Situation(arm.commanded_pose(), np.array([poses[name][:3, 3] for name in OBJECTS]))


def _object_row(arm: EmbeddedArm) -> Array:
    poses = arm.object_poses()
    return np.concatenate([np.concatenate([poses[name][:3, 3], rotation.vector(poses[name][:3, :3])]) for name in OBJECTS])


def _largest_way(objects: Array) -> float:
    """Of all objects, the largest distance from where it was in the first row, m; rows (T, 6 objects)."""
    places = objects.reshape(len(objects), -1, 6)[:, :, :3]
    return float(np.linalg.norm(places - places[0], axis=-1).max())
