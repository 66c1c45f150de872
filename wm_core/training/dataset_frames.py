"""All pictures of one camera of a LeRobot dataset in memory, as encoders and decoders are trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wm_core import configuration
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import EpisodeError
from wm_core.data.reader import DatasetReader
from wm_core.training.errors import TrainingError
from wm_core.training.frame_batch import Frames

Say = Callable[[str], None]


@dataclass(frozen=True)
class FrameSource:
    """Which pictures: the folder of a dataset, the YAML that describes it, and the role of the camera in that YAML."""

    root: Path
    description: Path
    camera: str = "front"

    def load(self, say: Say) -> Frames:
        """Frames (E, T, H, W, 3) uint8; `say` gets a line for each episode that cannot be read."""
        return load_frames(DatasetReader(self.root, configuration.read(DatasetConfig, self.description)), self.camera, say)


def load_frames(reader: DatasetReader, camera: str, say: Say) -> Frames:
    """The pictures (E, T, H, W, 3) uint8 of every episode that can be read; all episodes must be of one length."""
    for episode, fault in reader.faults.items():
        say(f"skipped episode {episode} of {reader.name}: {fault}")
    lengths = np.unique(reader.metadata.length[reader.episodes])
    if len(lengths) != 1:
        got = f"{lengths[0]} .. {lengths[-1]} rows" if len(lengths) else "no episode that can be read"
        raise TrainingError(
            f"the episodes of {reader.root} are not of one length", got=got, mend="collect them with one setting of frames, or split them"
        )
    episodes = []
    for episode in reader.episodes.tolist():
        try:
            episodes.append(reader.frames(episode, np.arange(lengths[0]), camera).transpose(0, 2, 3, 1))
        except EpisodeError as error:
            say(f"skipped episode {episode} of {reader.name}: {error}")
    if not episodes:
        raise TrainingError(f"no episode of {reader.root} can be read", mend="inspect the dataset")
    return np.stack(episodes)
