"""Protects the intervals: they are as wide as theory says, also where clips of one episode resemble each other."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core.evaluation import bootstrap
from wm_core.evaluation.errors import EvaluationError

DRAW = np.random.default_rng(0)


def width(estimate: bootstrap.Estimate) -> float:
    return estimate.high - estimate.low


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = DRAW.normal(2.0, 3.0, size=500)
    found = bootstrap.mean(values, np.arange(500))
    half = 1.645 * values.std() / np.sqrt(500)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_clips_that_repeat_their_episode_add_no_certainty() -> None:
    values = DRAW.normal(size=200)
    once = bootstrap.mean(values, np.arange(200))
    repeated = bootstrap.mean(np.repeat(values, 9), np.repeat(np.arange(200), 9))
    assert width(repeated) == pytest.approx(width(once), rel=1e-6)
    assert width(bootstrap.mean(np.repeat(values, 9), np.arange(1800))) == pytest.approx(width(once) / 3, rel=0.15)


def test_the_interval_of_a_ratio_uses_what_both_have_in_common() -> None:
    below = DRAW.uniform(1.0, 9.0, size=300)
    exact = bootstrap.ratio(0.5 * below, below, np.arange(300))
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.5, 0.5, 0.5))
    apart = bootstrap.ratio(0.5 * DRAW.permutation(below), below, np.arange(300))
    relative = below.std() / below.mean() / np.sqrt(300)  # delta method: two independent means of this relative error each
    assert width(apart) == pytest.approx(2 * 1.645 * 0.5 * np.sqrt(2) * relative, rel=0.2)


def test_a_statistic_of_ones_own_agrees_with_the_mean() -> None:
    values, episodes = DRAW.normal(size=400), np.repeat(np.arange(100), 4)
    own = bootstrap.statistic(values, episodes, lambda part: float(np.mean(part)))
    assert width(own) == pytest.approx(width(bootstrap.mean(values, episodes)), rel=0.15)


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf, 1.0]])
def test_what_is_not_finite_is_refused(values: list[float]) -> None:
    with pytest.raises(EvaluationError, match="not finite"):
        bootstrap.mean(values, [0, 1])


def test_each_clip_needs_its_episode() -> None:
    with pytest.raises(EvaluationError, match="differ in number"):
        bootstrap.mean([1.0, 2.0, 3.0], [0, 1])
