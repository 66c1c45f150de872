"""Protects the way from candidates to a world model: same noise for all, the right grid, and plans that begin where they will begin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wm_core.errors import GoalError, PlanningError
from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity
from wm_core.planning.witness import Witness
from wm_core.world_model.checkpoint import Checkpoint, Provenance
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer
from wm_core.world_model.world_model import WorldModel

GRID, DIM = (4, 4), 3
HASH = "a" * 64


def world_model(context_noise: float = 0.1, proprioception: int = 0) -> WorldModel:
    """Untrained, but with weights everywhere, so that actions matter, and readings where it is told of them."""
    sizes = {"dim": 32, "layers": 4, "time_every": 2, "heads": 4, "kv_heads": 2, "mlp_hidden": 48, "registers": 2, "soft_cap": 50.0}
    model = ModelConfig(
        latent_dim=DIM,
        grids=(GRID, (2, 2)),
        context=12,
        finest_steps=16,
        action_dim=7,
        action_hidden=16,
        head_dim=32,
        proprioception_dim=proprioception,
        **sizes,
    )
    torch.manual_seed(0)
    network = Transformer(model)
    for parameter in network.head.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    weights = network.state_dict()
    statistics = {
        "latents": Statistics(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([2.0, 0.5, 1.0])),
        "actions": Statistics(torch.zeros(7), torch.tensor([0.02] * 3 + [0.05] * 3 + [0.5])),
    }
    if proprioception:
        statistics["proprioception"] = Statistics(torch.zeros(7), torch.full((7,), 0.1))
    config = WorldModelConfig(model, ObjectiveConfig("shortcut", 4, context_noise))
    return WorldModel(Checkpoint(config, weights, weights, statistics, Provenance("tiny", HASH)))


def goal(weights: torch.Tensor | None = None, encoder_hash: str = HASH) -> Goal:
    latents = torch.randn(16, DIM, generator=torch.Generator().manual_seed(5))
    return Goal("there", latents, GRID, "tiny", encoder_hash, np.zeros((32, 32, 3), np.uint8), weights)


def seen(committed: int = 0, told: bool = False) -> Seen:
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(5, 16, DIM, generator=draw)
    actions = 0.02 * torch.randn(4 + committed, 7, generator=draw)
    readings = 0.1 * torch.randn(5, 7, generator=torch.Generator().manual_seed(3)) if told else None
    return Seen(latents, actions[:4], torch.ones(4, dtype=torch.bool), actions[4:], readings)


def candidates(count: int = 6, horizon: int = 3) -> np.ndarray:
    return 0.02 * np.random.default_rng(2).standard_normal((count, horizon, 7))


def evaluator(model: WorldModel, aim: Goal | None = None, **changes: Fidelity) -> ModelEvaluator:
    fidelities = {"search": Fidelity(1, 1, 1), "review": Fidelity(0, 4, 3)} | changes
    return ModelEvaluator(model, aim or goal(), GoalDistance(0.0), fidelities, seed=7)


def test_scores_are_distances_of_what_the_model_imagines() -> None:
    model, actions = world_model(), candidates()
    judge = evaluator(model)
    judge.see(seen())
    scores = judge.evaluate(actions, "review")
    context = seen()
    padded = torch.cat([context.actions, torch.zeros(1, 7)])[None]
    known = torch.tensor([[True] * 4 + [False]])
    imagined = model.imagine(
        model.context(context.latents[None], Conditioning(padded, known), 7, GRID), torch.from_numpy(actions).float()[None], (7, 8, 9), 4
    )[:, 0, :, -1]
    distances = (model.normalised(imagined) - model.normalised(goal().latents)).square().mean((-2, -1)).double().numpy()
    np.testing.assert_allclose(scores.goal, distances.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scores.uncertainty, distances.std(axis=0, ddof=1), rtol=1e-4)


def test_alike_candidates_get_alike_scores_whoever_is_beside_them() -> None:
    judge = evaluator(world_model())
    judge.see(seen())
    actions = candidates()
    actions[4] = actions[1]
    together, alone = judge.evaluate(actions, "search"), judge.evaluate(actions[1:2], "search")
    assert together.goal[4] == pytest.approx(together.goal[1], rel=1e-6)
    assert alone.goal[0] == pytest.approx(together.goal[1], rel=1e-4)
    assert np.ptp(together.goal) > 1e-4  # and the others differ: actions matter
    assert not together.uncertainty.any()  # a single draw of the future has no spread


@pytest.mark.parametrize("told", [False, True], ids=["frames alone", "with readings"])
def test_a_plan_begins_after_what_is_under_way(told: bool) -> None:
    """Also for a model that is told where the tool is: the readings after the actions under way are reckoned, not forgotten."""
    model, actions = world_model(0.0, proprioception=7 if told else 0), candidates(3, 2)
    same = {"search": Fidelity(0, 1, 1), "review": Fidelity(0, 1, 1)}
    waiting, at_once = evaluator(model, **same), evaluator(model, **same)
    context = seen(2, told)
    waiting.see(context)
    at_once.see(seen(0, told))
    before = np.broadcast_to(context.committed.numpy(), (3, 2, 7))
    whole = at_once.imagine(np.concatenate([before, actions], axis=1), "search")[:, :, 2:]
    imagined, without = waiting.imagine(actions, "search"), at_once.imagine(actions, "search")
    # The noise of a frame that was committed before is another than that of one that is being imagined.
    assert (imagined - whole).abs().mean() < 0.2 * (imagined - without).abs().mean()


@pytest.mark.parametrize("grid", [0, 1])
def test_what_a_place_was_seen_to_be_is_what_the_way_there_scores(grid: int) -> None:
    """Exactly where nothing is drawn; and with new frames nothing is known any more."""
    model, there = world_model(), torch.randn(16, DIM, generator=torch.Generator().manual_seed(9))
    judge = evaluator(model, search=Fidelity(grid, 1, 1))
    judge.see(seen(committed=1))
    way, others = candidates(1)[0], candidates(6)
    before = judge.evaluate(others, "search")
    judge.correct(Witness(way, 0, there))
    assert judge.evaluate(way[None], "search").goal[0] == pytest.approx(float(judge.distances(there, "search")), rel=1e-4)
    assert np.abs(judge.evaluate(others, "search").goal - before.goal).max() > 1e-3
    judge.see(seen(committed=1))
    np.testing.assert_allclose(judge.evaluate(others, "search").goal, before.goal, rtol=1e-5)


def test_tokens_without_weight_do_not_count() -> None:
    weights = torch.zeros(16)
    weights[:4] = 4.0
    elsewhere = goal()
    elsewhere.latents[4:] += 10.0
    moved = Goal("moved", elsewhere.latents, GRID, "tiny", HASH, elsewhere.picture, weights)
    scores = []
    for aim in (goal(weights), moved):
        judge = evaluator(world_model(), aim, review=Fidelity(0, 1, 1))
        judge.see(seen())
        scores.append(judge.evaluate(candidates(), "review").goal)
    np.testing.assert_allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize("grid", [0, 1])
def test_the_distance_now_is_that_of_the_newest_frame(grid: int) -> None:
    model = world_model()
    judge = evaluator(model, search=Fidelity(grid, 1, 1))
    judge.see(seen())
    here, there = (model.pooled(latents[None], model.grids[grid])[0] for latents in (seen().latents[-1], goal().latents))
    expected = (model.normalised(here) - model.normalised(there)).square().mean()
    assert judge.distance() == pytest.approx(float(expected), rel=1e-5)


def test_what_cannot_be_judged_is_refused() -> None:
    model = world_model()
    with pytest.raises(GoalError, match="another encoder"):
        evaluator(model, goal(encoder_hash="b" * 64))
    with pytest.raises(PlanningError, match=r"no such grid.*0: 4 x 4, 1: 2 x 2.*search\.grid"):
        evaluator(model, search=Fidelity(2, 1, 1))
    with pytest.raises(PlanningError, match="nothing has been seen"):
        evaluator(model).evaluate(candidates(), "search")
