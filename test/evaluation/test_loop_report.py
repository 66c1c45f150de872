"""Protects the report of the loop: three shares, what the change cost, and how much of it came back, also where that is nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.evaluation import loop_report
from wm_core.evaluation.control import Summary, wilson
from wm_core.evaluation.loop_report import Loop

TRIALS = 50
VIEWS = {"as trained": np.zeros((8, 8, 3), np.uint8), "changed": np.full((8, 8, 3), 255, np.uint8)}


def measured(successes: int, error: float, scene: str = "", trials: int = TRIALS) -> Summary:
    low, high = wilson(successes, trials)
    return Summary("planner", "reach", trials, successes, low, high, error, 0.1, 0.0, 1.0, 0.1, 0.2, 30, 0, None, scene)


def loop(trained: int, changed: int, tuned: int, offer: str = "offered: better on new clips, not worse on old ones") -> Loop:
    summaries = measured(trained, 0.007), measured(changed, 0.25, "changed"), measured(tuned, 0.01, "changed")
    seconds = {"before": 553.0, "record": 300.0, "old": 120.0, "fine-tune": 360.0, "after": 687.0}
    return Loop(*summaries, offer=offer, episodes=50, seed=770, seconds=seconds, model="0123456789abcdef")


def test_the_page_tells_the_three_shares_what_was_lost_and_what_came_back() -> None:
    page = loop_report.markdown(loop(45, 5, 35))
    rows = [line for line in page.splitlines() if line.startswith(("| as trained", "| scene changed"))]
    assert rows == [
        "| as trained, shipped model | 45 of 50 | 0.90 (0.79 to 0.96) | 0.7 |",
        "| scene changed, shipped model | 5 of 50 | 0.10 (0.04 to 0.21) | 25.0 |",
        "| scene changed, fine-tuned model | 35 of 50 | 0.70 (0.56 to 0.81) | 1.0 |",
    ]
    assert "The change cost 80 points of success; 75 % of them came back." in page
    assert "the same 50 tasks of seed 770" in page
    assert "50 episodes were recorded" in page
    assert "took 13.0 minutes, evaluation aside" in page
    assert "| before | 553 |" in page


@given(st.integers(0, TRIALS), st.integers(0, TRIALS), st.integers(0, TRIALS))
def test_what_came_back_is_a_share_of_what_was_lost(trained: int, changed: int, tuned: int) -> None:
    told = loop(trained, changed, tuned)
    if changed < trained:
        assert changed / TRIALS + told.recovered * told.lost == pytest.approx(tuned / TRIALS)
    else:
        assert told.recovered == 0.0


@pytest.mark.parametrize("changed", [45, 47])
def test_a_change_that_costs_nothing_is_said_to_cost_nothing(changed: int) -> None:
    page = loop_report.markdown(loop(45, changed, 48))
    assert "The change cost no success, so that none could come back." in page
    assert "points of success" not in page


def test_a_model_that_was_withheld_is_said_to_be_with_its_reason() -> None:
    reason = "withheld: not shown to be not worse on old (up to 1.17 times the error before, allowed 1.15)"
    page = loop_report.markdown(loop(45, 5, 35, reason))
    assert f"The fine-tuned model (0123456789ab): {reason}." in page


def test_page_numbers_and_picture_are_written(tmp_path: Path) -> None:
    written = loop_report.write(loop(45, 5, 35), VIEWS, tmp_path / "new")
    assert [path.name for path in written] == ["loop.md", "loop.json", "loop.png"]
    numbers = json.loads(written[1].read_text())
    assert [numbers[name]["successes"] for name in ("trained", "changed", "tuned")] == [45, 5, 35]
    assert (numbers["lost"], numbers["recovered"]) == (pytest.approx(0.8), pytest.approx(0.75))
    assert f"({written[2].name})" in written[0].read_text()
    assert written[2].stat().st_size > 5000


@pytest.mark.parametrize("trials", [11, 12, 20, 44])
def test_all_and_none_are_drawn_too(tmp_path: Path, trials: int) -> None:
    ends = {name: measured(count, 0.01, trials=trials) for name, count in (("trained", trials), ("changed", 0), ("tuned", trials))}
    loop_report.draw(replace(loop(45, 5, 35), **ends), VIEWS, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").is_file()
