"""Protects the bands: they hold as often as they say on new episodes, and less often where the world is another."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wm_core.errors import CheckpointError
from wm_core.evaluation import calibration
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.imagined import ClipErrors, Draw
from wm_core.world_model.calibration import Calibration, read, write

DRAW = Draw(seeds=2, steps=1, grid=(3, 3))
HORIZON = 4


def errors_of(count: int, seed: int, telling: bool = True, scale: float = 1.0) -> ClipErrors:
    """Clips whose difficulty differs by an order of magnitude; a telling spread grows with it, another is a constant."""
    draw = np.random.default_rng(seed)
    difficulty = scale * draw.lognormal(0.0, 0.8, size=(count, 1)) * np.arange(1, HORIZON + 1)
    error = difficulty * draw.gamma(8.0, 1.0 / 8.0, size=(count, HORIZON))
    spread = (
        0.3 * difficulty * draw.uniform(0.9, 1.1, size=(count, HORIZON)) if telling else draw.lognormal(0.0, 1.5, size=(count, HORIZON))
    )
    square, copy = np.square(error)[:, None], np.ones((count, HORIZON))
    return ClipErrors(square, square, spread[:, None], 0.0 * square, copy, np.arange(count))


def bands_of(errors: ClipErrors) -> tuple[Calibration, dict[str, float]]:
    return calibration.fit(errors, DRAW, 6, "0123", 0.9)


@pytest.mark.parametrize("telling", [True, False])
def test_coverage_on_new_clips_is_what_was_asked_for_within_its_own_error(telling: bool) -> None:
    bands, _ = bands_of(errors_of(2000, 1, telling))
    test = calibration.covered("test", bands, errors_of(4000, 2, telling))
    error = 3.5 * math.sqrt(0.09 / 2000 + 0.09 / 4000)  # of quantile and of count, both binomial
    assert [part.value for part in test.share] == pytest.approx([0.9] * HORIZON, abs=error)
    assert test.overall.value == pytest.approx(0.9, abs=error)
    assert test.refused.value == pytest.approx(0.1, abs=error)


def test_the_score_with_the_narrower_band_is_chosen() -> None:
    bands, widths = bands_of(errors_of(1000, 3, telling=True))
    assert bands.score == "error / spread"
    assert widths["error / spread"] < 0.8 * widths["error"]
    bands, widths = bands_of(errors_of(1000, 3, telling=False))
    assert bands.score == "error"
    assert widths["error"] <= widths["error / spread"]


def test_a_model_without_spread_still_gets_bands() -> None:
    errors = dataclasses.replace(errors_of(100, 4), spread=np.zeros((100, 1, HORIZON)))
    bands, widths = bands_of(errors)
    assert bands.score == "error"
    assert set(widths) == {"error"}


def test_on_a_shifted_world_bands_hold_less_often_and_the_spread_says_so() -> None:
    bands, _ = bands_of(errors_of(1000, 5, telling=False))
    assert calibration.covered("shifted", bands, errors_of(500, 6, telling=False, scale=2.0)).overall.value < 0.8
    bands, _ = bands_of(errors_of(1000, 5))
    assert calibration.covered("shifted", bands, errors_of(500, 6, scale=2.0)).refused.value > 0.2


@given(st.lists(st.floats(0.0, 100.0), min_size=9, max_size=60, unique=True))
def test_the_quantile_leaves_room_for_one_more_score(scores: list[float]) -> None:
    quantile = calibration.conformal_quantile(np.array(scores)[:, None], 0.9)[0]
    assert quantile in scores
    below = sum(score <= quantile for score in scores)
    assert below >= 0.9 * (len(scores) + 1) - 1e-9
    assert below - 1 < 0.9 * (len(scores) + 1)


def test_too_few_clips_for_a_band_are_refused() -> None:
    assert calibration.fewest(0.9) == 9
    with pytest.raises(EvaluationError, match="too few clips"):
        calibration.conformal_quantile(np.ones((8, 1)), 0.9)


def test_halves_share_no_episode() -> None:
    episodes = np.repeat(np.arange(11), 3)
    one, other = calibration.halves(episodes, 0)
    assert not set(episodes[one]) & set(episodes[other])
    assert sorted([*one, *other]) == list(range(33))


def test_bands_are_read_back_by_the_weights_they_were_measured_with(tmp_path: Path) -> None:
    assert read(tmp_path, "0123") is None
    bands, _ = bands_of(errors_of(100, 7))
    write(tmp_path, bands)
    assert read(tmp_path, "0123") == bands
    with pytest.raises(CheckpointError, match="other weights"):
        read(tmp_path, "4567")
    write(tmp_path, None)
    assert read(tmp_path, "0123") is None


@pytest.mark.parametrize("damage", [('"score"', '"scores"'), ("0.9", "x"), ('"error', '"other'), ('"quantile": [', '"quantile": [NaN,')])
def test_damaged_bands_are_refused(tmp_path: Path, damage: tuple[str, str]) -> None:
    write(tmp_path, bands_of(errors_of(100, 7))[0])
    file = tmp_path / "calibration.json"
    text = file.read_text(encoding="utf-8")
    assert damage[0] in text
    file.write_text(text.replace(*damage), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(tmp_path, "0123")


def test_a_band_ends_where_its_horizon_does() -> None:
    bands, _ = bands_of(errors_of(100, 8))
    assert bands.band(torch.ones(5, 2)).shape == (5, 2)
    with pytest.raises(CheckpointError, match="does not reach"):
        bands.band(torch.ones(5, HORIZON + 1))
