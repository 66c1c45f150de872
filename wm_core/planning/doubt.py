"""Whether a model knows its way here: whether its draws of one future agree, and whether the past went as it imagines it.

A scene that training never showed need not make draws disagree: in another light they agree on what is wrong. So what is known by now is
imagined too, from the frames before it, and held against what was seen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity
from wm_core.robot.rotation import Array
from wm_core.world_model.calibration import Calibration
from wm_core.world_model.world_model import WorldModel

HINDSIGHT = 3  # steps of the past that are imagined; the frames before them are fewer than the bands were measured with


def doubt(model: WorldModel, goal: Goal, seen: Seen, actions: Array) -> float | None:
    """The larger of two: how far the futures that actions (H, 7) lead into lie apart, and how wrong the newest frames are imagined.

    Each is a multiple of what was calibrated, of which 90 % or so stay below 1. None: the model has no such bands.
    """
    bands = model.calibration
    if bands is None or bands.seeds < 2 or bands.grid not in model.grids:
        return None
    fidelity = Fidelity(model.grids.index(bands.grid), bands.steps, bands.seeds)
    evaluator = ModelEvaluator(model, goal, GoalDistance(0.0), {"review": fidelity})
    return max(_spread(model, bands, evaluator, seen, actions), _hindsight(model, bands, evaluator, seen))


def _spread(model: WorldModel, bands: Calibration, evaluator: ModelEvaluator, seen: Seen, actions: Array) -> float:
    """Largest RMS spread of the future, as a multiple of the calibrated one at its horizon.

    The bands were measured from the newest frame on, so what is committed is part of the future, once the arm moves; looked at are as many
    steps as a plan has.
    """
    evaluator.see(replace(seen, committed=seen.committed[:0]))
    committed = seen.committed.double().numpy()
    moving = int(committed[:, :6].any(axis=1).argmax()) if committed[:, :6].any() else len(committed)
    ahead = np.concatenate([committed[moving:], actions])[: min(len(actions), len(bands.spread))]
    spread = _apart(model.normalised(evaluator.imagine(ahead[None], "review")[:, 0]))
    allowed = torch.tensor(bands.spread[: len(spread)], dtype=spread.dtype, device=spread.device)
    return float((spread / allowed.clamp(min=1e-9)).max())


def _hindsight(model: WorldModel, bands: Calibration, evaluator: ModelEvaluator, seen: Seen) -> float:
    """Largest RMS error of the newest frames imagined from those before them, in half widths of the band; 0 where nothing is known."""
    steps = min(HINDSIGHT, len(seen.latents) - 2, len(bands.quantile))
    if steps < 1 or not bool(seen.known[-steps:].all()):
        return 0.0
    readings = None if seen.readings is None else seen.readings[:-steps]
    before = Seen(seen.latents[:-steps], seen.actions[:-steps], seen.known[:-steps], seen.committed[:0], readings)
    evaluator.see(before)
    imagined = model.normalised(evaluator.imagine(seen.actions[-steps:].double().numpy()[None], "review")[:, 0])
    true = model.normalised(model.pooled(seen.latents[-steps:], bands.grid).to(imagined.device))
    error = (imagined.mean(0) - true).square().mean((-2, -1)).sqrt()
    return float((error / bands.band(_apart(imagined)).clamp(min=1e-9)).max())


def _apart(imagined: Tensor) -> Tensor:
    """RMS deviation between draws (seeds, H, P, D) of one future, (H,)."""
    return imagined.var(0).mean((-2, -1)).sqrt()
