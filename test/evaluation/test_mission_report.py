"""Protects the report of the mission: every attempt stands in it with its numbers, also one that ended before it began."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from wm_core.evaluation.mission_report import Attempt, Mission, write


def picture(shade: int, width: int = 96) -> np.ndarray:
    return np.full((96, width, 3), shade, np.uint8)


def reached() -> Attempt:
    attempt = Attempt("goal 1", 24.0, "reached", True, 6.5, 0.8, [90.0, 110.0, 100.0], 2)
    attempt.away = [(0.1 * step, 0.24 - 0.004 * step) for step in range(60)]
    attempt.share = [(0.2 * step, 1.0 - 0.03 * step) for step in range(30)]
    attempt.pictures = {"goal": picture(40), "start": picture(90), "imagined": picture(120, 480), "end": picture(200)}
    return attempt


def test_every_attempt_stands_in_page_numbers_and_picture(tmp_path: Path) -> None:
    refused = Attempt("goal 2", 31.0, "the camera hangs", False)
    paths = write(Mission("embedded", "5 steps, cost 1.00 to 0.31", [reached(), refused]), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.md", "mission.png", "report.json"]
    page = paths[0].read_text(encoding="utf-8")
    assert "| goal 1 | 24.0 | reached | 6.5 | 0.8 | 100 | 2 |" in page
    assert "| goal 2 | 31.0 | the camera hangs | 0.0 | nan |  | 0 |" in page
    numbers = json.loads(paths[2].read_text(encoding="utf-8"))
    assert numbers["attempts"][0]["away"][-1] == [5.9, 0.24 - 0.004 * 59]
    assert "pictures" not in numbers["attempts"][0]
    drawn = cv2.imread(str(paths[1]))
    assert {shade for shade in (40, 90, 120, 200) if (drawn == shade).all(axis=2).sum() > 1000} == {40, 90, 120, 200}


def test_a_mission_that_failed_at_once_leaves_a_report_too(tmp_path: Path) -> None:
    paths = write(Mission("embedded"), tmp_path)
    assert all(path.stat().st_size > 0 for path in paths)
