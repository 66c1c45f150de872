"""Protects the page of an evaluation: the verdict is first and right, every named picture is there, numbers are the measured ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from evaluations import evaluation

from wm_core.evaluation import page
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.page import markdown, shown, write
from wm_core.evaluation.results import Shortened


def cells(text: str, row: str) -> list[str]:
    """The cells of the table row that begins with this word."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_first_line_is_the_verdict() -> None:
    assert markdown(evaluation(may_plan=True)).splitlines()[0].endswith("it may be planned with")
    refused = markdown(evaluation(may_plan=False))
    assert refused.splitlines()[0].endswith("it may not be planned with")
    assert cells(refused, "Another clip's actions make the error worse")[1:4] == ["not measured", "at least 1.5", "**no**"]


def test_every_picture_that_the_page_names_is_written(tmp_path: Path) -> None:
    found = evaluation()
    written = write(found, tmp_path)
    named = set(re.findall(r"\]\((.+?\.png)\)", written[0].read_text(encoding="utf-8")))
    assert named == {path.name for path in written[1:]} | set(found.strips)
    for path in written[1:]:
        assert cv2.imread(str(path)) is not None


@pytest.mark.parametrize("horizon", [1, 7])
def test_what_was_not_measured_is_left_out(horizon: int, tmp_path: Path) -> None:
    written = write(evaluation(horizon=horizon, whole=False), tmp_path)
    text = written[0].read_text(encoding="utf-8")
    assert {path.name for path in written} == {"evaluation.md", "error.png", "actions.png"}
    for absent in ("Where things are", "right order", "how far off", "What it imagines", "teacher-forced", "20 ahead", "nan"):
        assert absent not in text


def test_tables_hold_the_numbers_at_their_horizons() -> None:
    found = evaluation()
    text = markdown(found)
    header = cells(text, "")
    row = cells(text, "model, actions known")
    for horizon in (1, 5, 10, 20):
        assert row[header.index(f"{horizon} ahead")] == shown(found.labelled.ratio[horizon - 1])
    assert cells(text, "dim")[2] == shown(found.calibration.shifted[0].overall)
    assert cells(text, "3x3")[4] == shown(found.plan_rank[1].chosen_cm, 1)
    assert cells(text, "64")[1] == shown(found.sampling.rows[-1].error[0], 3)


def test_a_horizon_that_the_episodes_are_too_short_for_is_told_with_the_length_that_reaches_it() -> None:
    assert "as was asked for" not in markdown(evaluation())
    text = markdown(replace(evaluation(horizon=10), shortened=(Shortened("arm_held_out", "latent error", 20, 10, 49, 30),)))
    assert "20 ahead" not in text
    line = next(line for line in text.splitlines() if "as was asked for" in line)
    for told in ("latent error", "arm_held_out", "20 frames were asked for", "10 is the furthest", "49 rows", "at most 30"):
        assert told in line


def test_a_table_has_as_many_cells_in_every_row() -> None:
    blocks = [block for block in markdown(evaluation()).split("\n\n") if block.startswith("|")]
    assert len(blocks) == 7
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_a_horizon_that_nobody_names_is_named_where_it_is_all_there_is() -> None:
    found = evaluation(horizon=1, whole=False)
    assert "1 ahead" in markdown(replace(found))
    assert page.table(("a", "b"), [("c", "1")]) == ["| a | b |", "|---|---:|", "| c | 1 |", ""]


def test_an_interval_stands_behind_its_value() -> None:
    assert shown(Estimate(0.5, 0.25, 0.75)) == "0.50 (0.25 to 0.75)"


def test_a_rule_says_what_its_number_was_measured_on_and_that_the_number_itself_decides() -> None:
    found = evaluation()
    rule = replace(found.verdict.rules[0], on="32 clips of 30 episodes, 1 to 5 ahead; 1 to 1.05")
    text = markdown(replace(found, verdict=replace(found.verdict, rules=(rule,))))
    assert cells(text, rule.says)[-1] == rule.on
    assert "the measured value that must hold, not the end of its interval" in text
    assert "24 clips of 20 episodes" in text
    assert "1 to 10 frames ahead" in text


def test_the_columns_that_count_as_true_are_named_and_what_the_tools_is() -> None:
    found = evaluation()
    states = replace(found.states, truth={"tool": "observation.state", "cube": "observation.environment_state"})
    text = markdown(replace(found, states=states))
    assert "`observation.state` for the tool, `observation.environment_state` for the cube" in text
    assert "commanded pose" in text
