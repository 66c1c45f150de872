"""What makes a candidate good: small named terms, each with a weight, reported one by one.

cost = sum of weight * term.   Terms are (N,), zero at best, and of the order of one: actions count in shares of the longest step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wm_core.configuration import setting
from wm_core.planning.bounds import StepLimits
from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class CostWeights:
    """The weight of each term; 0 leaves it out."""

    goal: float = setting("Latent distance of the imagined end to the goal, as a share of the distance at the start", low=0.0, high=1e3)
    uncertainty: float = setting("Spread of that distance over noise seeds, in the same share", low=0.0, high=1e3)
    smoothness: float = setting("Mean squared change from step to step, in shares of the longest step", low=0.0, high=1e3)
    effort: float = setting("Mean squared length of the steps, in shares of the longest step", low=0.0, high=1e3)
    terminal_speed: float = setting("Squared length of the last step, in shares of the longest step", low=0.0, high=1e3)


@dataclass(frozen=True)
class Candidates:
    """Actions (N, H, 7); the action (7,) that is being executed when they begin; and what the world model says of their ends.

    goal and uncertainty (N,) are shares of the distance at the start.
    """

    actions: Array
    before: Array
    goal: Array
    uncertainty: Array


@dataclass(frozen=True)
class Cost:
    """The weighted sum, with the limits that make metres and radians comparable; `seconds` is the time of one step."""

    weights: CostWeights
    limits: StepLimits
    seconds: float

    def terms(self, candidates: Candidates) -> dict[str, Array]:
        """Every term (N,), weighted; those of weight 0 are left out."""
        weighted = {name: getattr(self.weights, name) for name in TERMS}
        return {name: weight * TERMS[name](self, candidates) for name, weight in weighted.items() if weight}

    def moves(self, actions: Array) -> Array:
        """Translations and rotations (..., 6) in shares of the longest step."""
        longest = np.array([self.limits.linear_speed] * 3 + [max(self.limits.angular_speed, 1e-9)] * 3) * self.seconds
        return actions[..., :6] / longest


def _smoothness(cost: Cost, candidates: Candidates) -> Array:
    led = np.concatenate([np.broadcast_to(candidates.before, (len(candidates.actions), 1, 7)), candidates.actions], axis=1)
    return np.square(np.diff(cost.moves(led), axis=1)).sum(-1).mean(-1)


def _effort(cost: Cost, candidates: Candidates) -> Array:
    return np.square(cost.moves(candidates.actions)).sum(-1).mean(-1)


def _terminal_speed(cost: Cost, candidates: Candidates) -> Array:
    return np.square(cost.moves(candidates.actions[:, -1])).sum(-1)


TERMS: dict[str, Callable[[Cost, Candidates], Array]] = {
    "goal": lambda cost, candidates: candidates.goal,
    "uncertainty": lambda cost, candidates: candidates.uncertainty,
    "smoothness": _smoothness,
    "effort": _effort,
    "terminal_speed": _terminal_speed,
}
