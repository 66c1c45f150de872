"""Protects the verdict: no for each single reason there is, no for what was not measured, yes only without any."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from wm_core import configuration
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_config import EvaluateConfig
from wm_core.evaluation.verdict import FILE, judge, read

BARS = configuration.read(EvaluateConfig, Path(__file__).resolve().parents[2] / "config" / "evaluate.yaml").bars
GOOD: dict[str, float | None] = {
    "one_step": 0.5,
    "five_steps": 0.4,
    "ten_steps": 0.5,
    "action_gain": 3.0,
    "deviation": 0.95,
    "four_steps": 1.01,
    "coverage": 0.9,
    "calibration_clips": 1000.0,
    "plan_rank": 0.8,
}
REASONS: dict[str, dict[str, float | None]] = {
    "untrained": {"one_step": 40.0, "five_steps": 12.0, "ten_steps": 8.0},
    "worse than copying at first": {"one_step": 1.1},
    "worse than copying later": {"ten_steps": 1.1},
    "ignores actions": {"action_gain": 1.0, "deviation": 0.0},
    "overdoes actions": {"deviation": 3.0},
    "few steps are not enough": {"four_steps": 1.2},
    "bands too narrow": {"coverage": 0.85},
    "bands too wide": {"coverage": 0.97},
    "too few clips": {"calibration_clips": 300.0},
    "plans in no order": {"plan_rank": 0.1},
}


def test_a_good_model_may_be_planned_with() -> None:
    verdict = judge(GOOD, BARS)
    assert verdict.may_plan
    assert {rule.name for rule in verdict.rules} == set(GOOD)
    assert verdict.text() == "may be planned with"


@pytest.mark.parametrize("reason", REASONS)
def test_one_reason_is_enough_for_a_no(reason: str) -> None:
    verdict = judge(GOOD | REASONS[reason], BARS)
    assert not verdict.may_plan
    assert {rule.name for rule in verdict.rules if not rule.passed} == set(REASONS[reason])
    assert all(name in verdict.text() for name in REASONS[reason])


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf], ids=str)
def test_what_was_not_measured_counts_against_the_model(name: str, value: float | None) -> None:
    verdict = judge(GOOD | {name: value}, BARS)
    assert not verdict.may_plan
    assert [(rule.name, rule.value) for rule in verdict.rules if not rule.passed] == [(name, None)]
    assert f"{name} was not measured" in verdict.text()


def test_nothing_measured_at_all_is_a_no() -> None:
    assert not judge({}, BARS).may_plan
    assert not any(rule.passed for rule in judge({}, BARS).rules)


def test_a_bar_that_is_null_is_not_asked_for() -> None:
    without = dataclasses.replace(BARS, plan_rank=None)
    assert judge({name: value for name, value in GOOD.items() if name != "plan_rank"}, without).may_plan


def test_a_verdict_is_read_back_for_the_weights_it_is_about(tmp_path: Path) -> None:
    judged = judge(GOOD | {"four_steps": 1.2}, BARS)
    (tmp_path / FILE).write_text(json.dumps({"weights": "abc", **dataclasses.asdict(judged)}), encoding="utf-8")
    assert read(tmp_path, "abc") == judged
    assert read(tmp_path, "other weights") is None
    assert read(tmp_path / "nowhere", "abc") is None
    (tmp_path / FILE).write_text('{"weights": "abc", "may_plan"', encoding="utf-8")
    with pytest.raises(EvaluationError, match="damaged"):
        read(tmp_path, "abc")
