"""Protects plan ranking: a model that is right gets 1, one that ignores actions 0, and the chosen plan is the one it likes best."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wm_core import configuration
from wm_core.data.clip import Preprocessing
from wm_core.evaluation.plan_rank import PlanRank, PlanRankConfig, plan_rank, rank_plans, ranks, spearman
from wm_core.evaluation.plan_trials import Trial, TrialConfig, trials
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.tokens import pool
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.normalisation import Statistics

CONFIG = Path(__file__).resolve().parents[2] / "config"
CANDIDATES, CONTEXT = 12, 2
finite = st.floats(-1e3, 1e3, width=32)


def make_trial(seed: int) -> tuple[Trial, torch.Tensor]:
    """A trial whose tokens (1 token of 3 channels) are the tool's position in decimetres."""
    draw = np.random.default_rng(seed)
    ends, goal = draw.normal(size=(CANDIDATES, 3)) * 0.1, draw.normal(size=3) * 0.1
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    trial = Trial(
        frames=np.repeat(picture[None], CONTEXT, axis=0),
        actions=np.zeros((CONTEXT, 7)),
        states=np.zeros((CONTEXT, 13)),
        candidates=draw.normal(size=(CANDIDATES, 2, 7)),
        ends=np.repeat(picture[None], CANDIDATES, axis=0),
        end_tools=ends,
        goal=picture,
        goal_tool=goal,
    )
    tokens = np.concatenate([np.zeros((CONTEXT, 3)), ends, goal[None]])[:, None] * 10.0
    return trial, torch.from_numpy(tokens)


TRIED = [make_trial(seed) for seed in range(6)]


def judged(imagine) -> PlanRank:
    return plan_rank(TRIED, imagine, lambda tokens: tokens, (1, 1))


def ends_of(trial: Trial) -> torch.Tensor:
    return torch.from_numpy(trial.end_tools)[None, :, None] * 10.0


def test_a_model_that_is_right_ranks_perfectly_and_chooses_the_best() -> None:
    found = judged(lambda tokens, trial: ends_of(trial))
    for estimate in (found.latent, found.metric, found.ceiling):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 1.0, 1.0))
    assert found.chosen_cm == found.best_cm
    best = np.mean([100.0 * np.linalg.norm(trial.end_tools - trial.goal_tool, axis=1).min() for trial, _ in TRIED])
    assert found.best_cm.value == pytest.approx(best)
    assert found.average_cm.low > found.best_cm.value


def test_a_model_that_is_wrong_the_whole_way_round_gets_minus_one() -> None:
    def imagine(tokens: torch.Tensor, trial: Trial) -> torch.Tensor:
        away = trial.end_tools - trial.goal_tool
        closeness = 1.0 / np.linalg.norm(away, axis=1, keepdims=True)
        return torch.from_numpy(trial.goal_tool + away * closeness**2)[None, :, None] * 10.0

    found = judged(imagine)
    assert found.metric.value == pytest.approx(-1.0)
    assert found.ceiling.value == pytest.approx(1.0)


def test_a_model_that_ignores_the_actions_gets_nothing() -> None:
    found = judged(lambda tokens, trial: tokens[-1:].expand(1, CANDIDATES, 1, 3))
    assert found.latent.value == found.metric.value == 0.0


def test_the_cost_is_the_mean_over_seeds_and_the_context_alone_is_shown() -> None:
    def imagine(tokens: torch.Tensor, trial: Trial) -> torch.Tensor:
        assert tokens.shape == (CONTEXT, 1, 3)
        ends = ends_of(trial)
        return torch.cat([ends + 1.0, ends - 1.0])

    found = judged(imagine)
    trial, _ = TRIED[0]
    squared = 100.0 * np.square(trial.end_tools - trial.goal_tool).mean(axis=1)
    np.testing.assert_allclose(found.starts[0].model_cost, squared + 1.0, rtol=1e-9)


def test_ranks_share_ties() -> None:
    np.testing.assert_array_equal(ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])), [3.0, 0.0, 3.0, 1.0, 3.0])


def test_spearman_of_a_known_example() -> None:
    # No ties: 1 - 6 sum d^2 / (n (n^2 - 1)) with d = (0, 1, 1, 0, 0) is 1 - 12 / 120.
    assert spearman(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([10.0, 30.0, 20.0, 40.0, 50.0])) == pytest.approx(0.9)


@given(arrays(np.float64, 8, elements=finite), arrays(np.float64, 8, elements=finite))
def test_spearman_sees_the_order_alone(one: np.ndarray, other: np.ndarray) -> None:
    value = spearman(one, other)
    assert -1.0 - 1e-9 <= value <= 1.0 + 1e-9
    assert spearman(other, one) == pytest.approx(value)
    assert spearman(one * 4.0, other) == pytest.approx(value)
    assert spearman(-one, other) == pytest.approx(-value)


class Listening:
    """A model that notes what it is told, and imagines that each candidate's first number is all that the tokens hold."""

    grids, proprioception = ((6, 6), (2, 2)), 7

    def __init__(self) -> None:
        self.statistics = {"actions": Statistics(torch.zeros(7), torch.full((7,), 0.01))}
        self.told: list[tuple[torch.Tensor, Conditioning, torch.Tensor]] = []

    def pooled(self, latents: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        return pool(latents, self.grids[0], grid)

    def normalised(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def context(self, latents: torch.Tensor, conditioning: Conditioning, grid: tuple[int, int]) -> SimpleNamespace:
        return SimpleNamespace(latents=latents, conditioning=conditioning, grid=grid)

    def imagine(self, context: SimpleNamespace, actions: torch.Tensor, seeds: tuple[int, ...], steps: int | None) -> torch.Tensor:
        self.told.append((context.latents, context.conditioning, actions))
        shape = (len(seeds), *actions.shape[:3], context.grid[0] * context.grid[1], context.latents.shape[-1])
        return actions[None, ..., :1, None].expand(shape)


def coarse(pictures: torch.Tensor) -> torch.Tensor:
    """A stand-in for an encoder: pictures averaged over cells of 8 pixels."""
    return torch.nn.functional.avg_pool2d(pictures.float(), 8).flatten(2).transpose(1, 2)


def test_a_model_is_told_what_was_seen_and_asked_and_nothing_of_what_came_of_it() -> None:
    config = PlanRankConfig(seeds=2, trials=TrialConfig(starts=2, candidates=4, horizon=2, context=3))
    model, half = Listening(), Preprocessing(48, 48)
    found = rank_plans(config, CONFIG, coarse, half, model, fps=5.0)
    assert [rank.grid for rank in found] == [(6, 6), (2, 2)]
    arm = configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    expected = list(trials(config.trials, arm, np.full(6, 0.01, dtype=np.float32), 5.0))
    for (latents, conditioning, candidates), trial in zip(model.told, expected * 2, strict=True):
        np.testing.assert_allclose(candidates[0], trial.candidates, rtol=1e-6)
        np.testing.assert_allclose(conditioning.actions[0], trial.actions, rtol=1e-6)
        np.testing.assert_allclose(conditioning.proprioception[0], trial.states[:, :7], rtol=1e-6)
        seen = coarse(torch.from_numpy(half.apply(trial.frames)).permute(0, 3, 1, 2))
        grid = (6, 6) if latents.shape[2] == 36 else (2, 2)
        torch.testing.assert_close(latents[0], pool(seen, (6, 6), grid))
    # The last frame counts, not the first: here it is the last action's first number.
    goal = coarse(torch.from_numpy(half.apply(expected[0].goal[None])).permute(0, 3, 1, 2))
    ends = torch.from_numpy(expected[0].candidates[:, -1, :1, None]).float()
    np.testing.assert_allclose(found[0].starts[0].model_cost, (goal - ends).square().mean((1, 2)), rtol=1e-4)
