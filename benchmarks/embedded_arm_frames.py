"""The front camera's frames of a labelled set of the embedded arm, with where the tool and the objects really were."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wm_core import configuration
from wm_core.data.collect import OBJECT_STATE, STATE
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_core.simulation.kinematics import ArmKinematics
from wm_core.simulation.scene import OBJECTS
from wm_core.training.dataset_frames import load_frames

DESCRIPTION = Path(__file__).resolve().parents[1] / "config" / "datasets" / "embedded_arm.yaml"
JOINTS = slice(7, 13)  # of a state's row


def load(root):
    """Frames (E, T, S, S, 3) uint8 and points (E, T, 3, 3) m: the tool by its joints, then the objects."""
    description = replace(configuration.read(DatasetConfig, DESCRIPTION), state=(STATE, OBJECT_STATE))
    reader = DatasetReader(Path(root), description)
    forward = ArmKinematics().forward
    points = []
    for episode in reader.episodes.tolist():
        columns = reader.columns(episode)
        tool = np.array([forward(row[JOINTS].astype(np.float64))[:3, 3] for row in columns[STATE]])
        objects = columns[OBJECT_STATE].reshape(len(tool), len(OBJECTS), 6)[:, :, :3]
        points.append(np.concatenate([tool[:, None], objects], axis=1))
    return load_frames(reader, "front", lambda line: print(line, file=sys.stderr)), np.array(points)
