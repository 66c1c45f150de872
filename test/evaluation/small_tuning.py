"""What a fine-tuning needs, small: the moving square as it was, the same backwards in time, and a model to begin with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from small_evaluation import CONFIG, SIZE, Small, episode

from wm_core.configuration import build
from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.lerobot_writer import DatasetWriter, Layout, VideoSettings
from wm_core.evaluation.finetune_config import FinetuneConfig
from wm_core.training import trained_on
from wm_core.training.train_config import DataConfig, OptimiserConfig, RunConfig, Stage, TrainConfig, record
from wm_core.training.trained_on import TrainedOn
from wm_core.world_model import checkpoint

NAMES = ("dx", "dy", "dz", "turn_x", "turn_y", "turn_z", "gripper")
EARLIER = TrainedOn("0123", "4567", "earlier", 0.1, 3)
"""What the model that is begun with tells that it was trained on."""


@dataclass(frozen=True)
class Tuned:
    """Where everything lies; `config` makes settings of config/finetune.yaml small, with any of them replaced."""

    root: Path
    start: Path

    def set(self, name: str) -> dict[str, Any]:
        return {"root": name, "description": "square.yaml", "tool_state": False}

    def config(self, **changes: Any) -> FinetuneConfig:
        told = yaml.safe_load((CONFIG / "finetune.yaml").read_text(encoding="utf-8"))
        told["data"] |= {"new": [self.set("backwards")], "old": [], "reference": [self.set("held_out")], "old_share": 0.0}
        told["data"] |= {"encoder": "encoder", "cache": "tokens", "held_out": 0.4}
        told["run"] |= {
            "steps": 30,
            "batch": 4,
            "learning_rate_share": 3e-3,
            "warmup_steps": 2,
            "ema_decay": 0.8,
            "device": "cpu",
            "threads": 0,
        }
        told["monitor"] |= {"every": 10, "clips": 8, "horizon": 2, "seeds": 1, "worsening": 100.0}
        told["offer"] |= {"clips": 8, "old_at_most": 10.0}
        told["error"] |= {"clips": 8, "horizon": 3, "seeds": 2, "response_horizon": 2}
        told["sampling"] |= {"steps": [1, 4], "clips": 4, "horizon": 1, "seeds": 1}
        told["calibration"] |= {"clips": 20, "horizon": 2}
        for name, value in changes.items():
            section, key = name.split("__")
            told[section][key] = value
        return build(FinetuneConfig, told, "the test")


def make_tuned(small: Small) -> Tuned:
    """Beside what an evaluation reads: the set that runs backwards, and a checkpoint that tells how it was trained."""
    video = VideoSettings("h264", 5, "yuv444p", 4, 5.0)
    with DatasetWriter(
        small.root / "backwards", Layout(10, "square", {"observation.images.front": (SIZE, SIZE)}, {"action": NAMES}), video
    ) as to:
        for seed in range(200, 212):
            made = episode(seed)
            to.write(dataclasses.replace(made, images={name: frames[::-1].copy() for name, frames in made.images.items()}))
    loaded = checkpoint.load(small.checkpoint("untuned"))
    model, objective = loaded.config.model, loaded.config.objective
    run = RunConfig(steps=1, batch=4, global_batch=4, device="cpu", precision="fp32")
    data = DataConfig((), "encoder", "tokens", clip=ClipRequest(0.8, 10.0), preprocessing=Preprocessing(SIZE, SIZE))
    trained = TrainConfig(model, objective, data, run, (Stage(0, (8,)),), OptimiserConfig(learning_rate=1.0))
    told = json.loads(json.dumps(record(trained)))
    records = {**loaded.records, "train_config": told, trained_on.RECORD: trained_on.record([EARLIER])}
    return Tuned(small.root, checkpoint.save(small.root / "checkpoints", "to_tune", dataclasses.replace(loaded, records=records)))
