"""Intervals of what was measured over clips: whole episodes are drawn anew, because clips of one episode resemble each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wm_core.evaluation.errors import EvaluationError

LEVEL = 0.9
DRAWS = 1000
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 90 % interval."""

    value: float
    low: float
    high: float


def means(values: ArrayLike, episodes: ArrayLike, seed: int = 0) -> tuple[Estimate, ...]:
    """Of the columns of values (B, H), measured on clips of episodes (B,)."""
    return ratios(values, np.ones_like(np.asarray(values, dtype=np.float64)), episodes, seed)


def mean(values: ArrayLike, episodes: ArrayLike, seed: int = 0) -> Estimate:
    """Of values (B,)."""
    return means(np.asarray(values, dtype=np.float64)[:, None], episodes, seed)[0]


def ratios(numerator: ArrayLike, denominator: ArrayLike, episodes: ArrayLike, seed: int = 0) -> tuple[Estimate, ...]:
    """Mean of the one over mean of the other, column by column of (B, H); both are drawn together."""
    above, below = (_episode_sums(part, episodes) for part in (numerator, denominator))
    count = len(above)
    drawn = np.random.default_rng([7, seed]).multinomial(count, np.full(count, 1.0 / count), size=DRAWS)
    if not np.all(drawn @ below > 0.0):
        raise EvaluationError("there is nothing to compare with", got="errors of zero", allowed="clips in which something moves")
    low, high = np.quantile((drawn @ above) / (drawn @ below), _tails(), axis=0)
    return tuple(Estimate(float(v), float(lo), float(hi)) for v, lo, hi in zip(above.sum(0) / below.sum(0), low, high, strict=True))


def ratio(numerator: ArrayLike, denominator: ArrayLike, episodes: ArrayLike, seed: int = 0) -> Estimate:
    """Of numerators and denominators (B,)."""
    above, below = (np.asarray(part, dtype=np.float64)[:, None] for part in (numerator, denominator))
    return ratios(above, below, episodes, seed)[0]


def statistic(values: ArrayLike, episodes: ArrayLike, function: Callable[[Numbers], float], seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Of any function of values (B, ...), e.g. a median."""
    values = _finite(values)
    groups = [np.flatnonzero(np.asarray(episodes) == episode) for episode in np.unique(episodes)]
    generator = np.random.default_rng([7, seed])
    drawn = (np.concatenate([groups[i] for i in generator.integers(len(groups), size=len(groups))]) for _ in range(draws))
    low, high = np.quantile([function(values[rows]) for rows in drawn], _tails())
    return Estimate(float(function(values)), float(low), float(high))


def _tails() -> tuple[float, float]:
    return 0.5 - LEVEL / 2, 0.5 + LEVEL / 2


def _episode_sums(values: ArrayLike, episodes: ArrayLike) -> Numbers:
    values = _finite(values)
    names, place = np.unique(np.asarray(episodes), return_inverse=True)
    if values.ndim != 2 or len(place) != len(values) or len(values) == 0:
        raise EvaluationError("clips and episodes differ in number", got=f"{values.shape}, {len(place)}", allowed="one episode per clip")
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, place, values)
    return sums


def _finite(values: ArrayLike) -> Numbers:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise EvaluationError(
            "what was measured is not finite", got=f"{int((~np.isfinite(values)).sum())} values", mend="the model diverges"
        )
    return values
