"""Everything that an evaluation reads, small: a dataset of a moving square, an encoder and a world model of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from wm_core.data.episode import Episode
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.vision.embedded import MomentNetwork, save_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.world_model.checkpoint import Checkpoint, Provenance, save
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer

CONFIG = Path(__file__).resolve().parents[2] / "config"
EPISODES, ROWS, SIZE, DIM = 14, 16, 32, 8
NAMES = ("dx", "dy", "dz", "turn_x", "turn_y", "turn_z", "gripper")


def episode(seed: int) -> Episode:
    """A square that the first two numbers of the action push about; the blue of each picture tells its row."""
    draw = np.random.default_rng([23, seed])
    pushes = np.concatenate([draw.uniform(-3.0, 3.0, (ROWS, 2)), np.zeros((ROWS, 4)), np.ones((ROWS, 1))], axis=1)
    pictures, place = np.zeros((ROWS, SIZE, SIZE, 3), dtype=np.uint8), np.array([12.0, 12.0])
    for row in range(ROWS):
        x, y = np.clip(place, 0, SIZE - 8).astype(int)
        pictures[row, y : y + 8, x : x + 8, :2] = 220
        pictures[row, :, :, 2] = 15 * row
        place = place + pushes[row, :2]
    return Episode("push", np.arange(ROWS) / 10.0 + 1.0, {"observation.images.front": pictures}, {"action": pushes})


def write_dataset(root: Path, seeds: range, file_size: float = 5.0) -> None:
    """A video file is closed at `file_size` MB."""
    video = VideoSettings("h264", 5, "yuv444p", 4, file_size)
    with DatasetWriter(root, Layout(10, "square", {"observation.images.front": (SIZE, SIZE)}, {"action": NAMES}), video) as writer:
        for seed in seeds:
            writer.write(episode(seed))


def write_encoder(folder: Path, seed: int = 0) -> FrozenEncoder:
    torch.manual_seed(seed)
    shape = MomentNetwork(8, 4, 8, 16, DIM)
    preprocessing = Preprocessing(SIZE, "stretch", (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    encoder = FrozenEncoder("square", shape.build(SIZE), preprocessing, torch.device("cpu"))
    save_embedded(folder, encoder, shape, {})
    return encoder


def world_model(encoder: FrozenEncoder, statistics: dict[str, Statistics], poison: bool = False, kind: str = "shortcut") -> Checkpoint:
    """With random weights in its head too; poisoned, one of them is not a number."""
    model = ModelConfig(DIM, ((2, 2), (1, 1)), 16, 2, 2, 2, 1, 24, 1, 50.0, 8, 16, 7, 8)
    config = WorldModelConfig(model, ObjectiveConfig(kind, 4, 0.1))
    torch.manual_seed(1)
    network = Transformer(model)
    for parameter in network.head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    if poison:
        next(value for value in weights.values() if value.ndim == 2)[0, 0] = torch.nan
    provenance = Provenance(encoder.name, encoder.weight_hash, step=3)
    return Checkpoint(config, weights, weights, statistics, provenance)


@dataclass(frozen=True)
class Small:
    """Where everything lies."""

    root: Path
    encoder: FrozenEncoder
    config: Path

    def checkpoint(self, name: str, encoder: FrozenEncoder | None = None, poison: bool = False, kind: str = "shortcut") -> Path:
        """A new checkpoint that an evaluation may write into."""
        frames = torch.from_numpy(episode(0).images["observation.images.front"].transpose(0, 3, 1, 2).copy())
        tokens, actions = self.encoder(frames).patches, torch.from_numpy(episode(0).columns["action"]).float()
        statistics = {
            "latents": Statistics(tokens.mean((0, 1)), tokens.std((0, 1))),
            "actions": Statistics(actions.mean(0), actions.std(0).clamp_min(1.0)),
        }
        return save(self.root / "checkpoints", name, world_model(encoder or self.encoder, statistics, poison, kind))


def make(root: Path) -> Small:
    """Write dataset, shifted dataset, encoder and configuration under `root`."""
    write_dataset(root / "held_out", range(EPISODES))
    write_dataset(root / "shifted" / "light", range(100, 104))
    encoder = write_encoder(root / "encoder")
    description = {
        "name": "square",
        "fps": 10.0,
        "cameras": {"front": "observation.images.front"},
        "action": {
            "kind": "delta",
            "translation": {"key": "action", "width": 7, "take": [0, 1, 2]},
            "rotation": {"key": "action", "width": 7, "take": [3, 4, 5]},
            "rotation_form": "rotation_vector",
            "gripper": {"key": "action", "width": 7, "take": [6]},
            "gripper_closed": 0.0,
            "gripper_open": 1.0,
        },
    }
    (root / "square.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    shipped = yaml.safe_load((CONFIG / "evaluate.yaml").read_text(encoding="utf-8"))
    for part in ("states", "plan_rank", "strips"):
        del shipped[part]
    shipped["data"] |= {"encoder": "encoder", "cache": "tokens", "fps": 10.0, "preprocessing": {"height": SIZE, "width": SIZE}}
    shipped["data"]["labelled"] = {"root": "held_out", "description": "square.yaml"}
    shipped["data"]["shifted"] = {"root": "shifted", "description": "square.yaml", "scenes": {"light": {}, "camera": {}}}
    shipped["error"] |= {"clips": 8, "context": 6, "horizon": 20, "seeds": 2, "unlabelled_seeds": 2, "response_horizon": 3}
    shipped["sampling"] |= {"steps": [1, 4, 16], "clips": 4, "horizon": 2, "seeds": 2}
    shipped["calibration"] |= {"clips": 20, "shifted_clips": 8, "horizon": 4}
    config = root / "evaluate.yaml"
    config.write_text(yaml.safe_dump(shipped), encoding="utf-8")
    return Small(root, encoder, config)
