"""Does the model put plans into the right order? Its cost of many candidates is correlated with what each really led to.

The model's cost is the distance of the frame it imagines at a plan's end to the goal's frame, both as tokens; nothing of the simulator's
state enters it. The realised cost is the same distance of the real frame, and, for the metric one, of the tool in cm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.data.clip import Preprocessing
from wm_core.evaluation.bootstrap import Estimate, mean
from wm_core.evaluation.plan_trials import Trial, TrialConfig, trials
from wm_core.simulation.sim_config import SimConfig
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.world_model import WorldModel

Numbers = NDArray[np.float64]
Encode = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W) uint8 -> tokens (B, P, D)."""
ImagineEnds = Callable[[Tensor, Trial], Tensor]
"""Tokens (T, P, D) of a trial's frames, and the trial -> the frames (seeds, N, P, D) imagined at the end of each candidate."""


@dataclass(frozen=True)
class PlanRankConfig:
    """On what, and with how many samples, the model's cost of plans is judged."""

    arm: str = setting("YAML of the embedded arm, relative to this file", default="sim_arm.yaml")
    seeds: int = setting("Samples of the future over which a plan's cost is averaged", low=1, high=64, default=2)
    steps: int = setting("Sampling steps K of a frame; 0: the model's own", low=0, high=1024, default=0)
    trials: TrialConfig = setting("Starts, and the candidates of each", default=TrialConfig())


@dataclass(frozen=True)
class StartRank:
    """One start: costs of all candidates, and how far from the goal the one chosen by each cost ended, cm."""

    model_cost: tuple[float, ...]
    latent_cost: tuple[float, ...]
    distance_cm: tuple[float, ...]
    latent_correlation: float
    metric_correlation: float

    @property
    def chosen_cm(self) -> float:
        """Where the candidate ends that the model likes best."""
        return self.distance_cm[int(np.argmin(self.model_cost))]


@dataclass(frozen=True)
class PlanRank:
    """Spearman correlations, means over starts; distances from the goal in cm, means over starts too."""

    grid: tuple[int, int]
    starts: tuple[StartRank, ...]
    latent: Estimate  # model cost against latent distance of the real end
    metric: Estimate  # model cost against the tool's distance
    ceiling: Estimate  # latent distance of the real end against the tool's distance: `metric` of a model that is always right
    chosen_cm: Estimate
    best_cm: Estimate
    average_cm: Estimate


def rank_plans(
    config: PlanRankConfig, beside: Path, encode: Encode, size: Preprocessing, model: WorldModel, fps: float
) -> tuple[PlanRank, ...]:
    """Judge a model on every grid that it can plan on, by the same trials; actions spread as those of its training did.

    Pictures are brought to `size` before they are encoded, as those of the clips; `fps` is the rate of the frames that the model was
    trained on, Hz.
    """
    arm = configuration.read(SimConfig, beside / config.arm)
    spread = model.statistics["actions"].std[:6].double().numpy()
    tried = [(trial, encode(_pictures(trial, size))) for trial in trials(config.trials, arm, spread, fps)]
    ranks = []
    for grid in model.grids:
        tokens = [(trial, model.pooled(parts, grid)) for trial, parts in tried]
        ranks.append(plan_rank(tokens, _imaginer(config, model, grid), model.normalised, grid))
    return tuple(ranks)


def plan_rank(
    tried: Sequence[tuple[Trial, Tensor]], imagine: ImagineEnds, normalised: Callable[[Tensor], Tensor], grid: tuple[int, int]
) -> PlanRank:
    """Judge by trials, each with the tokens (T + N + 1, P, D) of its context, its real ends and its goal.

    Distances are means of squares over normalised tokens.
    """
    starts = tuple(_start(trial, tokens, imagine, normalised) for trial, tokens in tried)
    distances = np.array([start.distance_cm for start in starts])

    def estimate(values: Iterable[float]) -> Estimate:
        numbers = np.array(list(values))
        return mean(numbers, np.arange(len(numbers)))

    return PlanRank(
        grid,
        starts,
        latent=estimate(start.latent_correlation for start in starts),
        metric=estimate(start.metric_correlation for start in starts),
        ceiling=estimate(spearman(np.array(start.latent_cost), np.array(start.distance_cm)) for start in starts),
        chosen_cm=estimate(start.chosen_cm for start in starts),
        best_cm=estimate(distances.min(axis=1)),
        average_cm=estimate(distances.mean(axis=1)),
    )


def spearman(one: Numbers, other: Numbers) -> float:
    """The correlation of ranks; 0 where one of them is constant, as it then says nothing of the other."""
    first, second = ranks(one), ranks(other)
    spread = float(first.std() * second.std())
    if spread == 0.0:
        return 0.0
    return float(np.mean((first - first.mean()) * (second - second.mean())) / spread)


def ranks(values: Numbers) -> Numbers:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2.0)[inverse]


def _start(trial: Trial, tokens: Tensor, imagine: ImagineEnds, normalised: Callable[[Tensor], Tensor]) -> StartRank:
    context, ends, goal = tokens.split([len(trial.frames), len(trial.ends), 1])
    wanted = normalised(goal)
    model = (normalised(imagine(context, trial)) - wanted).square().mean((-2, -1)).mean(0).double().numpy()
    latent = (normalised(ends) - wanted).square().mean((-2, -1)).double().numpy()
    distance = 100.0 * np.linalg.norm(trial.end_tools - trial.goal_tool, axis=1)
    correlations = spearman(model, latent), spearman(model, distance)
    return StartRank(tuple(model.tolist()), tuple(latent.tolist()), tuple(distance.tolist()), *correlations)


def _imaginer(config: PlanRankConfig, model: WorldModel, grid: tuple[int, int]) -> ImagineEnds:
    def imagine(tokens: Tensor, trial: Trial) -> Tensor:
        actions, own = (torch.from_numpy(part).float()[None] for part in (trial.actions, trial.states[:, : model.proprioception]))
        known = torch.ones(1, len(trial.actions), dtype=torch.bool)
        context = model.context(tokens[None], Conditioning(actions, known, own, known), grid=grid)
        candidates = torch.from_numpy(trial.candidates).float()[None]
        futures = model.imagine(context, candidates, seeds=tuple(range(config.seeds)), steps=config.steps or None)
        return futures[:, 0, :, -1].cpu()

    return imagine


def _pictures(trial: Trial, size: Preprocessing) -> Tensor:
    """Context, real ends and goal, (T + N + 1, 3, H, W) uint8."""
    joined = size.apply(np.concatenate([trial.frames, trial.ends, trial.goal[None]]))
    return torch.from_numpy(np.ascontiguousarray(joined.transpose(0, 3, 1, 2)))
