"""Protects the page of an evaluation of control: the planner is compared with the simulator's search on the tasks that both were given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wm_core.evaluation import control_page
from wm_core.evaluation.control import JudgeConfig, Trial
from wm_core.evaluation.control_page import Told
from wm_core.evaluation.control_records import Place, TrialRecords

STEP, SCENE = 0.2, "as_trained"
JUDGE = JudgeConfig(seconds=1.0, last=1, tolerance=0.02, turn_tolerance=0.1, object_tolerance=0.03)


def trial(index: int, success: bool, latency: tuple[float, ...] = ()) -> Trial:
    return Trial(index, success, np.zeros((5, 3)), np.zeros((6, 3)), np.full(len(latency), 0.1), 0, latency=np.array(latency))


def recorded(folder: Path, **outcomes: str) -> tuple[TrialRecords, Told]:
    """One letter for each task of kind reach: y reached, n not, a dot not tried."""
    records, asked = TrialRecords(folder), {}
    for policy, letters in outcomes.items():
        asked[Place(SCENE, "reach", policy)] = len(letters)
        for index, letter in enumerate(letters):
            if letter != ".":
                records.save(Place(SCENE, "reach", policy), trial(index, letter == "y"))
    return records, Told(JUDGE, STEP, asked, "How both search.")


def test_the_ratio_is_over_the_tasks_that_both_were_given(tmp_path: Path) -> None:
    records, told = recorded(tmp_path, planner="yn.yyyyyyy", truth="yyyn", copy="nnnn")
    control_page.report(records, told, {})
    (pair,) = json.loads((tmp_path / "control.json").read_text(encoding="utf-8"))["paired"]
    assert (pair["tasks"], pair["planner"], pair["truth"], pair["ratio"]) == (3, 2, 2, 1.0)
    page = (tmp_path / "control.md").read_text(encoding="utf-8")
    assert "On the 3 tasks that both were given the planner succeeds in 2, the search over the simulator in 2: a ratio of 1.00." in page
    assert "How both search." in page


@pytest.mark.parametrize(("outcomes", "said"), [({"planner": "yy", "truth": "nn"}, "no ratio"), ({"planner": "yy"}, "")])
def test_where_nothing_can_be_compared_no_ratio_is_told(outcomes: dict[str, str], said: str, tmp_path: Path) -> None:
    records, told = recorded(tmp_path, **outcomes)
    control_page.report(records, told, {})
    page = (tmp_path / "control.md").read_text(encoding="utf-8")
    assert "a ratio of" not in page
    assert said in page
    assert ("both were given the planner" in page) == bool(said)


def test_what_was_asked_for_and_is_not_in_the_numbers_is_said(tmp_path: Path) -> None:
    control_page.report(*recorded(tmp_path, planner="yn..y", copy="nnnnn"), {})
    page = (tmp_path / "control.md").read_text(encoding="utf-8")
    assert "plans with the model: 2 of the 5 tasks asked for are not in it" in page
    assert "stays where it is: " not in page


def test_frame_to_command_is_the_quantile_over_plans(tmp_path: Path) -> None:
    records, place = TrialRecords(tmp_path), Place(SCENE, "reach", "controller")
    records.save(place, trial(0, True, tuple(np.linspace(0.3, 0.5, 21))))
    (one,) = control_page.report(records, Told(JUDGE, STEP, {place: 1}), {})
    assert one.plans == 21
    assert one.latency_p95 == pytest.approx(0.49)
    assert "camera frame to command 490 ms (p95 of the plans)" in (tmp_path / "control.md").read_text(encoding="utf-8")
