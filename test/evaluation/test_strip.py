"""Protects strips: seen and imagined frames stand where they say, rows that do not fit are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wm_core.errors import VisionError
from wm_core.evaluation.strip import chosen, write_strip

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(length: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, dtype=np.uint8), (length, 8, 8, 3))


def test_a_strip_shows_each_row_and_column_once(tmp_path: Path) -> None:
    future = np.concatenate([plain(2, RED), plain(3, BLUE)])
    write_strip(tmp_path / "deep" / "strip.png", {"camera": plain(5, GREEN), "imagined": future}, context=2)
    picture = cv2.imread(str(tmp_path / "deep" / "strip.png"))[..., ::-1]
    area = {colour: int((picture == colour).all(axis=-1).sum()) for colour in (RED, GREEN, BLUE)}
    assert area[GREEN] > 0
    assert area[GREEN] == pytest.approx(area[RED] + area[BLUE], rel=0.05)
    assert area[BLUE] == pytest.approx(1.5 * area[RED], rel=0.05)
    heights = {colour: np.flatnonzero((picture == colour).all(axis=-1).any(axis=1)) for colour in (RED, GREEN, BLUE)}
    assert heights[GREEN].max() < heights[RED].min()
    assert heights[RED].min() == heights[BLUE].min()


@pytest.mark.parametrize(("length", "context"), [(2, 1), (5, 2), (28, 8), (200, 3)])
def test_the_last_frame_is_always_shown_and_never_too_many(length: int, context: int) -> None:
    columns = chosen(length, context)
    assert columns[-1] == length - 1
    assert context in columns
    assert context - 1 in columns
    assert len(columns) <= 10
    assert columns == sorted(set(columns))


@pytest.mark.parametrize(
    ("rows", "context"),
    [
        ({"camera": plain(4, RED), "imagined": plain(5, RED)}, 2),
        ({"camera": plain(4, RED).astype(np.float32)}, 2),
        ({"camera": plain(4, RED)}, 4),
        ({"camera": plain(4, RED)}, 0),
        ({}, 1),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: dict[str, np.ndarray], context: int, tmp_path: Path) -> None:
    with pytest.raises(VisionError):
        write_strip(tmp_path / "strip.png", rows, context)
    assert not list(tmp_path.iterdir())
