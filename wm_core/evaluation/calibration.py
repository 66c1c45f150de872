"""Split-conformal bands: quantiles measured on the clips of some episodes, coverage on those of others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from wm_core.evaluation import bootstrap
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.held_out import Whole
from wm_core.evaluation.imagined import ClipErrors, Draw, Numbers
from wm_core.world_model.calibration import SCORES, Calibration


@dataclass(frozen=True)
class Coverage:
    """Share of clips whose error lies within the band, at h = 1 .. H and over all of them; of clips of these episodes.

    refused: the share of clips whose spread at the last horizon is above the in-distribution quantile.
    """

    name: str
    clips: int
    episodes: int
    share: tuple[Estimate, ...]
    overall: Estimate
    refused: Estimate


@dataclass(frozen=True)
class CalibrationResult:
    """The bands, the mean half width that each score would have had, the coverage on other episodes and on shifted data."""

    calibration: Calibration
    widths: dict[str, float]
    test: Coverage
    shifted: tuple[Coverage, ...]


def halves(episodes: Whole, seed: int) -> tuple[Whole, Whole]:
    """Indices of the clips of a random half of the episodes, and of the other half."""
    names = np.random.default_rng([17, seed]).permutation(np.unique(episodes))
    first = np.isin(episodes, names[: len(names) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def fewest(coverage: float) -> int:
    """Clips without which no band of this coverage is finite."""
    return math.ceil(coverage / (1.0 - coverage) - 1e-9)


def conformal_quantile(scores: Numbers, coverage: float) -> Numbers:
    """Of scores (n, H): the value that a new score stays below with at least this probability, (H,)."""
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        raise EvaluationError("too few clips for a band", got=len(scores), allowed=f"at least {fewest(coverage)} for {coverage:.0%}")
    return np.sort(scores, axis=0)[rank - 1]


def fit(errors: ClipErrors, draw: Draw, context: int, weights: str, coverage: float) -> tuple[Calibration, dict[str, float]]:
    """Bands from calibration clips, of the score whose bands are narrower, and the mean half width of each score.

    Both scores cover equally often by construction; the narrower band says more. Dividing by the spread pays where seeds disagree on
    the clips that are hard.
    """
    error, spread = _root(errors)
    floor = np.median(spread, axis=0)
    spread_quantile = conformal_quantile(spread, coverage)
    bands = {}
    for score, scale in zip(SCORES, (np.ones_like(spread), spread + floor), strict=True):
        if not np.all(scale > 0.0):
            continue  # a model without spread has no such score
        quantile = conformal_quantile(error / scale, coverage)
        bands[score] = quantile, float((quantile * scale).mean())
    widths = {score: width for score, (_, width) in bands.items()}
    best = min(widths, key=widths.__getitem__)
    calibration = Calibration(
        weights=weights,
        grid=draw.grid,
        steps=draw.steps,
        seeds=draw.seeds,
        context=context,
        coverage=coverage,
        score=best,
        quantile=tuple(bands[best][0].tolist()),
        floor=tuple(floor.tolist()),
        spread=tuple(spread_quantile.tolist()),
        clips=len(error),
        episodes=len(np.unique(errors.episodes)),
    )
    return calibration, widths


def covered(name: str, calibration: Calibration, errors: ClipErrors) -> Coverage:
    """How often the bands hold on these clips."""
    error, spread = _root(errors)
    within = (error <= calibration.band(torch.from_numpy(spread)).numpy()).astype(np.float64)
    odd = (spread[:, -1] > calibration.spread[spread.shape[1] - 1]).astype(np.float64)
    return Coverage(
        name=name,
        clips=len(error),
        episodes=len(np.unique(errors.episodes)),
        share=bootstrap.means(within, errors.episodes),
        overall=bootstrap.mean(within.mean(1), errors.episodes),
        refused=bootstrap.mean(odd, errors.episodes),
    )


def _root(errors: ClipErrors) -> tuple[Numbers, Numbers]:
    """RMS error and spread (B, H) of the recorded actions' future."""
    return np.sqrt(errors.model[:, 0]), errors.spread[:, 0]
