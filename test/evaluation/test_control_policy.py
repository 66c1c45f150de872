"""Protects the policies that plan: they stay in their bounds, repeat themselves, and leave no trace of looking ahead."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core import configuration
from wm_core.errors import CheckpointError
from wm_core.evaluation.control import JudgeConfig, run
from wm_core.evaluation.control_policy import Planner, TrueDynamics, TrueWorld
from wm_core.evaluation.control_task import Task, TaskConfig, tasks
from wm_core.planning.bounds import Bounds, StepLimits
from wm_core.planning.cost import Cost, CostWeights
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.scores import Fidelity, Pass
from wm_core.planning.search import Search, SearchConfig
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.embedded import MomentNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer
from wm_core.world_model.world_model import WorldModel

CONFIG = Path(__file__).resolve().parents[2] / "config"
SIZE, DIM, STEP = 48, 8, 0.2
JUDGE = JudgeConfig(seconds=0.6, last=1, tolerance=0.02, turn_tolerance=0.1, object_tolerance=0.03)
TASKS = TaskConfig("reach", 1, 77, nearest=0.15, farthest=0.35, turn=0.0, camera="front", rate=10.0, speed=0.4)
FIDELITIES: dict[Pass, Fidelity] = {"search": Fidelity(0, 1, 1), "review": Fidelity(0, 1, 1)}


@pytest.fixture(scope="module")
def arm() -> EmbeddedArm:
    return EmbeddedArm(dataclasses.replace(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"), width=SIZE, height=SIZE))


@pytest.fixture(scope="module")
def task(arm: EmbeddedArm) -> Task:
    return next(tasks(TASKS, arm))


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    pixels = Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return FrozenEncoder("tiny", MomentNetwork(8, 4, 8, 16, DIM).build(SIZE), pixels, torch.device("cpu"))


def world_model(encoder: FrozenEncoder, weight_hash: str = "") -> WorldModel:
    """Untrained: what it imagines is wrong, which is no matter here."""
    model = ModelConfig(DIM, (encoder.grid,), 16, 2, 2, 2, 1, 24, 1, 50.0, 8, 16, 7, 8)
    torch.manual_seed(1)
    network = Transformer(model)
    for parameter in network.head.parameters():  # a head of zeros ignores actions: every plan would be worth standing still
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    weights = network.state_dict()
    one = {"latents": Statistics(torch.zeros(DIM), torch.full((DIM,), 0.1)), "actions": Statistics(torch.zeros(7), torch.ones(7))}
    provenance = Provenance(encoder.name, weight_hash or encoder.weight_hash)
    return WorldModel(Checkpoint(WorldModelConfig(model, ObjectiveConfig("shortcut", 1, 0.1)), weights, weights, one, provenance))


def search() -> Search:
    limits = StepLimits(0.25, 0.6, (0.30, -0.30, 0.02), (0.64, 0.30, 0.38), (0.3, 0.3, 0.8))
    drawn = SearchConfig("cem", 2, 8, 2, 3, 1, 0.5, 0.7, 0.0, 0.0, 0.05, 0.0, 0.0, 1.0, 0)
    return Search(drawn, Bounds(limits, STEP), Cost(CostWeights(1.0, 0.0, 0.0, 0.0, 0.0), limits, STEP))


def policy(kind: type[Planner], encoder: FrozenEncoder, arm: EmbeddedArm, discount: float = 0.0) -> Planner:
    model = world_model(encoder)
    if kind is TrueDynamics:
        return TrueDynamics(model, encoder, search(), GoalDistance(discount), TrueWorld(arm, TASKS.camera, TASKS.rate))
    return Planner(model, encoder, search(), FIDELITIES, GoalDistance(0.0), frames=8)


@pytest.mark.parametrize("kind", [Planner, TrueDynamics])
def test_a_planner_acts_within_the_bounds_and_repeats_itself(
    kind: type[Planner], arm: EmbeddedArm, task: Task, encoder: FrozenEncoder
) -> None:
    first, again = (run(policy(kind, encoder, arm), arm, task, TASKS, JUDGE, STEP) for _ in range(2))
    np.testing.assert_array_equal(first.path, again.path)
    steps = np.linalg.norm(np.diff(first.path, axis=0), axis=1)
    assert (steps <= 0.25 * STEP + 1e-9).all()
    assert steps.max() > 1e-4
    assert (first.planning > 0.0).all()


def test_looking_ahead_in_the_true_world_leaves_no_trace_and_finds_what_is_nearer(
    arm: EmbeddedArm, task: Task, encoder: FrozenEncoder
) -> None:
    truth = policy(TrueDynamics, encoder, arm)
    assert isinstance(truth, TrueDynamics)
    arm.restore(task.start)
    truth.begin(task, np.random.default_rng(0))
    candidates = np.zeros((2, 4, 7))
    candidates[..., 6] = arm.gripper
    candidates[1, :, :3] = (task.tool[:3, 3] - arm.commanded_pose()[:3, 3]) / 4  # straight to the goal, faster than a plan may
    before = arm.snapshot()
    scores = truth.evaluate(candidates, "search")
    np.testing.assert_array_equal(arm.snapshot().physics, before.physics)
    assert scores.goal[1] < 0.5 * scores.goal[0]
    assert scores.goal[0] == pytest.approx(truth.distance(), rel=0.2)  # standing still leaves things as they are


def test_the_true_world_is_searched_by_the_planners_own_distance(arm: EmbeddedArm, task: Task, encoder: FrozenEncoder) -> None:
    """Steps before the last count as the discount says."""
    candidate = np.zeros((1, 2, 7))
    candidate[..., 6], candidate[:, 0, 0] = arm.gripper, 0.05
    found = {}
    for discount, actions in (("first", candidate[:, :1]), ("last", candidate), (0.5, candidate)):
        truth = policy(TrueDynamics, encoder, arm, discount if isinstance(discount, float) else 0.0)
        arm.restore(task.start)
        truth.begin(task, np.random.default_rng(0))
        assert isinstance(truth, TrueDynamics)
        found[discount] = truth.evaluate(actions, "search").goal[0]
    assert found["first"] != pytest.approx(found["last"], rel=1e-3)
    assert found[0.5] == pytest.approx((0.5 * found["first"] + found["last"]) / 1.5, rel=1e-5)


def test_a_model_of_another_encoder_is_refused(arm: EmbeddedArm, encoder: FrozenEncoder) -> None:
    with pytest.raises(CheckpointError, match="another encoder"):
        Planner(world_model(encoder, "b" * 64), encoder, search(), FIDELITIES, GoalDistance(0.0), frames=8)
