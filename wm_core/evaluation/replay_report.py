"""From a replayed recording to its report, with the model, the planner and the decoder that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from wm_core import configuration
from wm_core.errors import CheckpointError
from wm_core.evaluation import replay_page
from wm_core.evaluation.replay import Replay
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.evaluation.replay_result import Planning, evaluate_replay
from wm_core.planning.planner_config import PlannerConfig, search_of
from wm_core.robot.guard import Guard
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import read_robot
from wm_core.vision.decoder import load_decoder
from wm_core.world_model.world_model import WorldModel


@dataclass(frozen=True)
class Models:
    """Where things are: a checkpoint, a decoder (None: nothing is drawn), and the files of planner, guard and robot."""

    model: Path
    decoder: Path | None
    planner: Path
    guard: Path
    robot: Path


def report(replay: Replay, models: Models, config: ReplayConfig, name: str, out: Path) -> Path:
    """Evaluate and write; returns the page."""
    planner = configuration.read(PlannerConfig, models.planner)
    model = WorldModel.open(models.model, engine=planner.engine)
    try:
        if model.fps is None:
            raise CheckpointError("the checkpoint does not tell the rate of its frames", mend="use one that `wm train` wrote")
        planning = _planning(planner, models, replay, 1.0 / model.fps) if config.plans else None
        result, best = evaluate_replay(replay, model, config, planning)
    finally:
        model.close()
    strip = False
    if models.decoder is not None and best[1].shape[1] == replay.encoder.grid[0] * replay.encoder.grid[1]:
        decoder = load_decoder(models.decoder, replay.encoder, torch.device("cpu"))
        strip = replay_page.draw_strip(replay, best, decoder, out / replay_page.STRIP)
    return replay_page.write(result, out, name, strip)


def _planning(planner: PlannerConfig, models: Models, replay: Replay, step: float) -> Planning:
    config, robot = configuration.read(GuardConfig, models.guard), read_robot(models.robot, replay.contract.urdf)
    return Planning(planner, search_of(planner, config, robot, step), Guard(config, robot.limits, robot.kinematics))
