"""A problem whose answer is known: the model's latent is the tool's pose, so the best plan is a straight line to the goal."""

from __future__ import annotations

import numpy as np

from wm_core.planning import rotations
from wm_core.planning.bounds import Bounds, StepLimits, ToolState
from wm_core.planning.cost import Cost, CostWeights
from wm_core.planning.scores import Pass, Scores
from wm_core.planning.search import Search, SearchConfig
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array, quaternion

LIMITS = StepLimits(0.25, 0.6, (0.3, -0.3, 0.02), (0.64, 0.3, 0.38), (0.2, 0.2, 0.8))
SECONDS = 0.2
GOAL = ToolState(np.array([0.4, 0.12, 0.1]), DOWN, 1.0)
START = ToolState(np.array([0.5, 0.0, 0.2]), DOWN, 1.0)


class PoseEvaluator:
    """Scores are squared distances of the tool at the end: metres, and radians weighted by `turning`."""

    def __init__(self, goal: ToolState, start: ToolState = START, turning: float = 0.0) -> None:
        self.goal, self.start, self.turning = goal, start, turning
        self.asked: list[tuple[Pass, Array]] = []

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        self.asked.append((fidelity, actions))
        return Scores(self.costs(actions), np.zeros(len(actions)))

    def distance(self) -> float:
        return float(self.costs(np.zeros((1, 1, 7)))[0])

    def costs(self, actions: Array) -> Array:
        position, turned = end(actions, self.start)
        away = rotations.product(turned, rotations.inverse(quaternion(self.goal.rotation)[None]))
        return np.square(position - self.goal.position).sum(1) + self.turning * np.square(rotations.vectors(away)).sum(1)


def end(actions: Array, start: ToolState) -> tuple[Array, Array]:
    """Positions (N, 3) and orientations (N, 4) that actions (N, H, 7) end at."""
    turned = np.tile(quaternion(start.rotation), (len(actions), 1))
    for step in range(actions.shape[1]):
        turned = rotations.product(rotations.of_vectors(actions[:, step, 3:6]), turned)
    return start.position + actions[:, :, :3].sum(axis=1), turned


def search(**changes: object) -> Search:
    """A search of 64 candidates x 4 iterations over 5 steps, with changes to its configuration or the weights of its costs."""
    config: dict[str, object] = {
        "method": "cem",
        "horizon": 5,
        "samples": 64,
        "iterations": 4,
        "elites": 8,
        "keep": 2,
        "constant": 0.5,
        "translation": 0.5,
        "rotation": 0.0,
        "gripper": 0.0,
        "smallest": 0.02,
        "momentum": 0.1,
        "colour": 1.0,
        "temperature": 0.1,
        "review": 0,
    }
    weights = {"goal": 1.0, "uncertainty": 0.0, "smoothness": 0.0, "effort": 0.0, "terminal_speed": 0.0}
    for key, value in changes.items():
        (weights if key in weights else config)[key] = value  # type: ignore[index]
    bounds = Bounds(LIMITS, SECONDS)
    return Search(SearchConfig(**config), bounds, Cost(CostWeights(**weights), LIMITS, SECONDS))  # type: ignore[arg-type]
