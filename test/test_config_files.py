"""Protects the shipped YAML files: each loads, and each key is documented where it stands, with the unit and range that are enforced."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from wm_core.cli.embedded_config import EmbeddedConfig
from wm_core.configuration import Setting, read
from wm_core.data.collect import CollectConfig
from wm_core.data.recording_config import RecordingConfig
from wm_core.evaluation.ablations import AblationsConfig
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.finetune_config import FinetuneConfig
from wm_core.evaluation.loop_config import LoopConfig
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.planner_config import PlannerConfig
from wm_core.planning.rollout_config import RolloutConfig
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.reach import ReachConfig
from wm_core.robot.robot_config import RobotConfig
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.decoder_config import DecoderTraining
from wm_core.training.encoder_config import ConvolutionalTraining, DistilledTraining, MaskedTraining
from wm_core.training.train_config import TrainConfig
from wm_core.vision.encoding_config import EncodingConfig
from wm_core.vision.timm_encoder import TimmEncoderConfig
from wm_core.world_model.model_config import WorldModelConfig

CONFIG = Path(__file__).resolve().parent.parent / "config"
CLASSES = {"sim_arm": SimConfig, "safety_guard": GuardConfig, "reach_pose": ReachConfig, "ur5e": RobotConfig}
CLASSES |= {"collect": CollectConfig, "encoder": EncodingConfig, "planner": PlannerConfig, "mpc_controller": ControllerConfig}
CLASSES |= {"encoder_convolutional": ConvolutionalTraining, "encoder_masked": MaskedTraining, "encoder_distilled": DistilledTraining}
CLASSES |= {"encoder_dinov3": TimmEncoderConfig, "decoder": DecoderTraining}
CLASSES |= {"world_model": RolloutConfig}
CLASSES |= {"train_embedded": TrainConfig, "train_full": TrainConfig}
CLASSES |= {"control": ControlConfig, "finetune": FinetuneConfig, "loop": LoopConfig}
CLASSES |= {"record_lerobot": RecordingConfig, "replay": ReplayConfig}
CLASSES |= {"embedded": EmbeddedConfig, "evaluate": EvaluateConfig, "ablations": AblationsConfig}
CLASSES |= {"world_model_embedded": WorldModelConfig, "world_model_full": WorldModelConfig}


def keys_with_comments(text: str) -> Iterator[tuple[str, str]]:
    """("speed.linear", the comment lines right above it) for every key in block style."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        key = re.match(r"([A-Za-z_][\w-]*):(\s|$)", stripped)
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
        elif key:
            indent = len(line) - len(line.lstrip())
            path = [entry for entry in path if entry[0] < indent]
            path.append((indent, key.group(1)))
            yield ".".join(name for _, name in path), " ".join(comment)
            comment = []
        else:
            comment = []


def settings(cls: type, prefix: str = "") -> Iterator[tuple[str, Setting | None]]:
    """Every documented field by dotted name; None for a group. The inside of lists and dicts has names of the user's own."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        known = field.metadata.get("setting")
        if dataclasses.is_dataclass(hints[field.name]):
            yield prefix + field.name, None
            yield from settings(hints[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, known


def test_every_file_in_config_is_checked_here() -> None:
    assert {path.stem for path in CONFIG.glob("*.yaml")} == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_shipped_file_loads(name: str) -> None:
    assert isinstance(read(CLASSES[name], CONFIG / f"{name}.yaml"), CLASSES[name])


@pytest.mark.parametrize("name", CLASSES)
def test_exactly_the_settings_that_may_change_while_a_node_runs_are_called_live(name: str) -> None:
    documented = dict(keys_with_comments((CONFIG / f"{name}.yaml").read_text(encoding="utf-8")))
    called = {key for key, comment in documented.items() if re.search(r"\blive\b", comment)}
    assert called == {key for key, known in settings(CLASSES[name]) if known is not None and known.live}


@pytest.mark.parametrize("name", CLASSES)
def test_every_key_stands_in_the_file_with_its_unit_and_range(name: str) -> None:
    documented = dict(keys_with_comments((CONFIG / f"{name}.yaml").read_text(encoding="utf-8")))
    for key, known in settings(CLASSES[name]):
        assert documented.get(key), f"{key} has no comment right above it in config/{name}.yaml"
        if known is None:
            continue
        for unit in filter(None, known.unit.split(", ")):
            assert unit in documented[key], f"the comment of {key} does not name its unit {unit}"
        if known.low is not None and known.high is not None:
            span = f"{known.low:g} .. {known.high:g}"
            assert span in documented[key], f"the comment of {key} does not name its range {span}"
        for choice in known.choices:
            assert re.search(rf"\b{re.escape(choice)}\b", documented[key]), f"the comment of {key} does not name {choice}"
