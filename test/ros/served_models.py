"""Small checkpoints for rollout servers, the frames that these hear, and what an evaluator in one process knows of the same frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState

from wm_core.planning.history import History, Reading
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm
from wm_core.vision.decoder import Decoder, DecoderNetwork, save_decoder
from wm_core.world_model import calibration, checkpoint
from wm_core.world_model.calibration import Calibration
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer
from wm_core.world_model.world_model import WorldModel
from wm_ros.conversions import seconds
from wm_ros.latents import latents
from wm_ros.msg import LatentFrame
from wm_ros.rollout_messages import frame_message

GRID, DIM, STEP, OPENING = (4, 4), 3, 0.2, 0.5
ENCODER, HASH = "tiny", "a" * 64
START = 1000  # s, the stamp of the first frame


def save_model(
    folder: Path, seed: int = 0, dim: int = DIM, encoder_hash: str = HASH, fps: float | None = 1.0 / STEP, scale: float = 0.3
) -> Path:
    """Untrained, but with weights everywhere, so that actions matter; `scale` not finite: it imagines nonsense."""
    sizes = {"dim": 32, "layers": 4, "time_every": 2, "heads": 4, "kv_heads": 2, "mlp_hidden": 48, "registers": 2, "soft_cap": 50.0}
    shape = {"latent_dim": dim, "grids": (GRID, (2, 2)), "context": 12, "finest_steps": 16, "action_dim": 7, "action_hidden": 16}
    model = ModelConfig(**shape, head_dim=32, proprioception_dim=7, **sizes)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    network = Transformer(model)
    for parameter in network.head.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
            parameter.data *= scale / 0.3
    weights = network.state_dict()
    statistics = {
        "latents": Statistics(torch.linspace(-1.0, 1.0, dim), torch.linspace(0.5, 2.0, dim)),
        "actions": Statistics(torch.zeros(7), torch.tensor([0.02] * 3 + [0.05] * 3 + [0.5])),
        "proprioception": Statistics(torch.zeros(7), torch.full((7,), 0.5)),
    }
    records = {} if fps is None else {"train_config": {"data": {"clip": {"fps": fps}}}}
    config = WorldModelConfig(model, ObjectiveConfig("shortcut", 4, 0.1))
    made = Checkpoint(config, weights, weights, statistics, Provenance(ENCODER, encoder_hash), records=records)
    return checkpoint.save(folder.parent, folder.name, made)


def save_bands(folder: Path, spread: float) -> Calibration:
    """Bands of the checkpoint in `folder`, over more horizons than a plan has."""
    one, five = WorldModel.open(folder).hash, (spread,) * 5
    made = Calibration(one, (2, 2), 4, 3, 5, 0.9, "error", five, five, five, 20, 4)
    calibration.write(folder, made)
    return made


def save_small_decoder(folder: Path) -> Path:
    """It draws cells of 4 pixels."""
    torch.manual_seed(0)
    save_decoder(folder, Decoder(DecoderNetwork("light", 4, 8, 1, 1), GRID, DIM, HASH))
    return folder


def save_robot(folder: Path, shipped: Path) -> Path:
    """The embedded arm's robot file with its URDF beside it: no arm need run."""
    (folder / "arm.urdf").write_text(arm.urdf(), encoding="utf-8")
    text = shipped.read_text(encoding="utf-8").replace('description_file: ""', "description_file: arm.urdf")
    robot = folder / "robot.yaml"
    robot.write_text(text, encoding="utf-8")
    return robot


@dataclass(frozen=True)
class Moment:
    """A frame, and where the guard told the arm to be then."""

    frame: LatentFrame
    commanded: JointState


def moments(count: int, encoder_hash: str = HASH) -> list[Moment]:
    """Frames a step of the model apart, while the arm moves."""
    draw, names = torch.Generator().manual_seed(3), Kinematics(read_chain(arm.urdf())).names
    made = []
    for index in range(count):
        stamp = Time(sec=START + index // 5, nanosec=(index % 5) * 200_000_000)
        frame = frame_message(torch.randn(GRID[0] * GRID[1], DIM, generator=draw), ENCODER, encoder_hash, GRID)
        frame.header.stamp, frame.header.frame_id = stamp, "camera"
        joints = [float(angle) for angle in np.array([0.0, -1.2, 1.6, -1.9, -1.5, 0.0]) + 0.02 * index * np.array([1, 0.5, -0.5, 0, 1, 0])]
        commanded = JointState(name=[*names, "gripper"], position=[*joints, OPENING])
        commanded.header.stamp = stamp
        made.append(Moment(frame, commanded))
    return made


def history(known: list[Moment]) -> History:
    """What a node that heard all of them holds."""
    kinematics, held = Kinematics(read_chain(arm.urdf())), History(60.0)
    for moment in known:
        stamp = seconds(moment.frame.header.stamp)
        held.see(stamp, latents(moment.frame))
        held.feel(Reading(stamp, kinematics.tool_pose(np.array(moment.commanded.position[:6])), OPENING))
    return held
