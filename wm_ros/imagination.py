"""The one place where a controller gets its world model: in this process, or from servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from wm_core import device
from wm_core.cli import shipped
from wm_core.errors import CheckpointError, WmError
from wm_core.evaluation import verdict
from wm_core.planning import doubt
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.draft import ImaginingEvaluator
from wm_core.planning.goal import Goal
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.planner_config import PlannerConfig
from wm_core.robot.rotation import Array
from wm_core.vision.decoder import Decoder, load_decoder
from wm_core.vision.encoder import Encoder
from wm_core.vision.load import load_encoder
from wm_core.world_model.world_model import WorldModel, directory
from wm_ros.rollout_client import RolloutEvaluator, RolloutServers

CONNECTING = 30.0  # s that configuring waits for a server


@dataclass(frozen=True)
class Imagination:
    """step: seconds of one step of the model. `evaluator` shows it a goal; `doubt` as in wm_core.planning.doubt; `close` ends it.

    `model` is the one in this process, which takes frames from whoever asks; None: servers imagine, who know those alone that they heard.
    """

    step: float
    model: WorldModel | None
    evaluator: Callable[[Goal], ImaginingEvaluator]
    doubt: Callable[[Goal, Seen, Array], float | None]
    close: Callable[[], None]


def open_encoder(config: ControllerConfig) -> Encoder:
    """The encoder of goal pictures."""
    return load_encoder(
        config.encoder or str(shipped.model("encoder")), device.torch_device(config.device), device.PRECISIONS[config.precision]
    )


def open_decoder(config: ControllerConfig, encoder: Encoder) -> Decoder | None:
    """What draws imagined frames; None: nothing does."""
    drawer = shipped.decoder(config.decoder, config.world_model)
    return None if drawer is None else load_decoder(drawer, encoder, device.torch_device(config.device))


def open_imagination(node: Node, config: ControllerConfig, planner: PlannerConfig, encoder: Encoder) -> Imagination:
    """The world model that `config` names, for goals and frames of this encoder; `node` is who asks where servers imagine."""
    if config.servers:
        return _served(node, config, planner)
    folder = Path(config.world_model).expanduser() if config.world_model else shipped.model("world_model")
    model = WorldModel.open(folder, device.torch_device(config.device), dtype=device.PRECISIONS[config.precision], engine=planner.engine)
    model.require_encoder(encoder.name, encoder.weight_hash)
    judged = verdict.read(directory(folder), model.hash)
    if judged is None or not judged.may_plan:
        node.get_logger().warning(f"the world model {'was never evaluated' if judged is None else judged.text()}")
    return imagination_of(model, planner)


def imagination_of(model: WorldModel, planner: PlannerConfig) -> Imagination:
    """A model in this process, which tells the rate of its frames."""
    if model.fps is None:
        raise CheckpointError(
            "the checkpoint does not tell the rate of its frames", got=model.hash[:12], mend="use one that `wm train` wrote"
        )
    return Imagination(
        1.0 / model.fps,
        model,
        lambda goal: ModelEvaluator(model, goal, planner.distance, planner.fidelities),
        lambda goal, seen, actions: doubt.doubt(model, goal, seen, actions),
        model.close,
    )


def _served(node: Node, config: ControllerConfig, planner: PlannerConfig) -> Imagination:
    """A model that the servers are given is followed from goal to goal."""
    servers = RolloutServers(node, config.servers, config.patience)
    try:
        step = servers.connect(CONNECTING)
    except WmError:
        servers.close()
        raise

    def evaluator(goal: Goal) -> RolloutEvaluator:
        servers.follow()
        servers.require_encoder(goal.encoder, goal.encoder_hash)
        return servers.evaluator(goal, planner.distance, planner.fidelities)

    def doubted(goal: Goal, seen: Seen, actions: Array) -> float | None:
        judge = servers.evaluator(goal, planner.distance, planner.fidelities)
        judge.see(seen)
        return judge.doubt(actions)

    return Imagination(step, None, evaluator, doubted, servers.close)
