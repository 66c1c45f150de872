"""Whether a model knows its way here: how far its draws of one future lie apart, beside how far they did where it was calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity
from wm_core.robot.rotation import Array
from wm_core.world_model.world_model import WorldModel


def doubt(model: WorldModel, goal: Goal, seen: Seen, actions: Array) -> float | None:
    """Largest RMS spread of the future that actions (H, 7) lead into, as a multiple of the calibrated one at its horizon.

    The bands were measured from the newest frame on, so what is committed is part of the future, once the arm moves; looked at are as many
    steps as a plan has. None: the model has no such bands.
    """
    bands = model.calibration
    if bands is None or bands.seeds < 2 or bands.grid not in model.grids:
        return None
    fidelity = Fidelity(model.grids.index(bands.grid), bands.steps, bands.seeds)
    evaluator = ModelEvaluator(model, goal, GoalDistance(0.0), {"review": fidelity})
    evaluator.see(replace(seen, committed=seen.committed[:0]))
    committed = seen.committed.double().numpy()
    moving = int(committed[:, :6].any(axis=1).argmax()) if committed[:, :6].any() else len(committed)
    ahead = np.concatenate([committed[moving:], actions])[: min(len(actions), len(bands.spread))]
    imagined = model.normalised(evaluator.imagine(ahead[None], "review")[:, 0])
    spread = imagined.var(0).mean((-2, -1)).sqrt()
    allowed = torch.tensor(bands.spread[: len(spread)], dtype=spread.dtype, device=spread.device)
    return float((spread / allowed.clamp(min=1e-9)).max())
