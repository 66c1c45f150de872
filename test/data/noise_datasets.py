"""Small LeRobot datasets: every frame is noise of its own, so no two can be taken for one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wm_core.data.dataset_config import ActionMapping, DatasetConfig, Part
from wm_core.data.episode import Episode
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings

CONFIG = Path(__file__).resolve().parents[2] / "config"
VIDEO = VideoSettings(codec="h264", quality=25, chroma="yuv420p", key_frame_every=6, file_size=0.1)
CAMERAS = {"observation.images.left": (64, 96), "observation.images.wrist": (48, 48)}
LENGTHS = (24, 31, 18, 40, 27, 33, 22, 36, 29, 25)
FPS = 10
ARM_ACTION = ("dx", "dy", "dz", "rx", "ry", "rz", "gripper")


@dataclass(frozen=True)
class Made:
    """A dataset on disk, how to read it, and what went into it."""

    root: Path
    config: DatasetConfig
    episodes: tuple[Episode, ...]


def action_mapping(width: int = 7) -> ActionMapping:
    return ActionMapping(
        kind="delta",
        translation=Part("action", width, (0, 1, 2)),
        rotation=Part("action", width, (3, 4, 5)),
        rotation_form="rotation_vector",
        gripper=Part("action", width, (6,)),
        gripper_closed=0.0,
        gripper_open=1.0,
    )


def noise_episode(seed: int, rows: int, cameras: dict[str, tuple[int, int]] = CAMERAS, action: bool = True) -> Episode:
    draw = np.random.default_rng([17, seed])
    images = {}
    for name, (height, width) in cameras.items():
        coarse = draw.integers(0, 256, (rows, height // 4, width // 4, 3), dtype=np.uint8)
        images[name] = coarse.repeat(4, axis=1).repeat(4, axis=2)
    acts = np.concatenate([draw.normal(size=(rows, 6)) * 0.02, draw.random((rows, 1))], axis=1)
    columns = {"observation.state": draw.normal(size=(rows, 5)), "padding": draw.normal(size=(rows, 200))}
    if action:
        columns["action"] = acts
    return Episode(f"task {seed % 3}", np.arange(rows) / FPS + 100.0, images, columns)


def write(root: Path, episodes: list[Episode], video: VideoSettings = VIDEO) -> None:
    first = episodes[0]
    cameras = {name: picture.shape[1:3] for name, picture in first.images.items()}
    names = {name: [f"{name}{index}" for index in range(column.shape[1])] for name, column in first.columns.items()}
    with DatasetWriter(root, Layout(FPS, "noise", cameras, names), video) as writer:
        for episode in episodes:
            writer.write(episode)
