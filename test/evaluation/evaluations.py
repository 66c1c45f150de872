"""Evaluations made of nothing, for the tests of pages."""

from __future__ import annotations

import numpy as np

from wm_core.evaluation.action_response import ActionResponse
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.calibration import CalibrationResult, Coverage
from wm_core.evaluation.latent_error import LatentError
from wm_core.evaluation.plan_rank import PlanRank, StartRank, spearman
from wm_core.evaluation.results import Evaluation
from wm_core.evaluation.sampling_steps import SamplingSteps, StepsRow
from wm_core.evaluation.state_probe import StateError, StateErrors
from wm_core.evaluation.verdict import Rule, Verdict
from wm_core.world_model.calibration import Calibration

HORIZON = 20


def about(value: float) -> Estimate:
    return Estimate(value, 0.9 * value, 1.1 * value)


def over(values: np.ndarray) -> tuple[Estimate, ...]:
    return tuple(about(float(value)) for value in values)


def latent(ratio: float, horizon: int = HORIZON) -> LatentError:
    h = np.arange(1, horizon + 1)
    copy, share = 1.5 * (1.0 - np.exp(-h / 6.0)), ratio + 0.2 * np.exp(-h / 2.0)
    return LatentError(64, 48, 8, 8, 4, (6, 6), over(share * copy), over(1.3 * share * copy), over(copy), over(share))


def start(seed: int) -> StartRank:
    draw = np.random.default_rng(seed)
    distance = draw.uniform(1.0, 25.0, 40)
    latent_cost, model = distance + draw.normal(size=40), distance + 4.0 * draw.normal(size=40)
    metric = spearman(model, distance)
    costs = (tuple(values.tolist()) for values in (model, latent_cost, distance))
    return StartRank(*costs, spearman(model, latent_cost), metric)


def evaluation(may_plan: bool = True, horizon: int = HORIZON, whole: bool = True) -> Evaluation:
    """With every part, or with those alone that are always measured."""
    h = np.arange(1, horizon + 1)
    near = min(horizon, 10)
    flat = over(np.ones(near))
    rows = tuple(
        StepsRow(k, over(0.5 + 0.1 / k + 0.01 * h[:near]), flat, about(1.0 + 0.1 / k), tuple([0.3] * near), 0.001 * k)
        for k in (1, 2, 4, 64)
    )
    bands = Calibration("ab" * 32, (3, 3), 1, 2, 6, 0.9, "error", (0.4,) * near, (0.1,) * near, (0.2,) * near, 1000, 100)
    covered = [
        Coverage(name, 900, 90, over(np.full(near, share)), about(share), about(0.1)) for name, share in (("held out", 0.9), ("dim", 0.6))
    ]
    errors = [
        StateError(quantity, ahead, 64, about(2.0 * scale), about(0.9 * scale), about((2.0 + 0.5 * ahead) * scale))
        for quantity, scale in (
            ("tool, cm", 1.0),
            ("cube, cm", 2.0),
            ("cube that moved, cm", 3.0),
            ("cylinder, cm", 2.0),
            ("tool, degrees", 3.0),
        )
        for ahead in (1, 5, 10, 20)
        if ahead <= horizon
    ]
    starts = tuple(start(seed) for seed in range(12))
    ranked = tuple(
        PlanRank(grid, starts, about(0.8), about(0.7), about(0.95), about(4.0), about(1.5), about(12.0)) for grid in ((6, 6), (3, 3))
    )
    rules = (
        Rule("five_steps", "Five imagined frames are nearer the real one than the last frame seen", 0.52, None, 0.6, True),
        Rule("action_gain", "Another clip's actions make the error worse", 1.7 if may_plan else None, 1.5, None, may_plan),
    )
    return Evaluation(
        checkpoint="step_000001000",
        step=1000,
        weights="cd" * 32,
        parameters=1_200_000,
        encoder="embedded-convolutional-96",
        encoder_hash="ef" * 32,
        labelled=latent(0.5, horizon),
        unlabelled=latent(0.8, horizon),
        baseline=latent(0.6, horizon) if whole else None,
        actions=ActionResponse(
            64, 48, 4, 4, over(1.0 + 0.08 * h[:near]), over(1.0 + 0.05 * h[:near]), flat, about(1.6), about(1.3), about(1.0)
        ),
        sampling=SamplingSteps(24, 20, 8, (6, 6), rows),
        calibration=CalibrationResult(bands, {"error": 0.4, "error / spread": 0.5}, covered[0], (covered[1],)) if whole else None,
        states=StateErrors(64, tuple(errors)) if whole else None,
        plan_rank=ranked if whole else (),
        strips=("strip_0.png",) if whole else (),
        verdict=Verdict(may_plan, rules),
        skipped=("embedded_arm 3: a video lacks frames",) if whole else (),
        seconds={"latent error": 12.0, "plan rank": 30.0},
    )
