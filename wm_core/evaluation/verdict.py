"""May this model be planned with? One rule per reason not to, each with its number; what was not measured counts against the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wm_core.configuration import setting
from wm_core.evaluation.errors import EvaluationError

FILE = "verdict.json"
HORIZONS = {"one_step": 1, "five_steps": 5, "ten_steps": 10}
"""Frames ahead that rules of latent error are about."""


@dataclass(frozen=True)
class Bars:
    """What a model must reach; a bar that is null is not asked for."""

    one_step: float = setting("Largest error of one imagined frame, in units of copying's", low=0.0, high=10.0)
    five_steps: float = setting("Largest error five frames ahead, in units of copying's", low=0.0, high=10.0)
    ten_steps: float = setting("Largest error ten frames ahead, in units of copying's", low=0.0, high=10.0)
    action_gain: float = setting("Smallest error with another clip's actions, in units of that with the true ones", low=0.0, high=100.0)
    deviation_low: float = setting("Smallest effect of actions, in units of the real one", low=0.0, high=10.0)
    deviation_high: float = setting("Largest effect of actions, in units of the real one", low=0.0, high=100.0)
    four_steps: float = setting("Largest error with K = 4, in units of that with the largest K", low=1.0, high=10.0)
    coverage_low: float = setting("Smallest share of test clips within the bands", low=0.0, high=1.0)
    coverage_high: float = setting("Largest share of test clips within the bands", low=0.0, high=1.0)
    calibration_clips: int = setting("Fewest calibration clips, and fewest test clips", low=0, high=1_000_000)
    plan_rank: float | None = setting("Smallest correlation of model cost and realised cost", low=-1.0, high=1.0, default=None)


@dataclass(frozen=True)
class Rule:
    """`value` must be a number and lie in at_least .. at_most; None is no bound, and for the value: not measured.

    It is the value that is judged; `on` tells what it was measured on, and its 90 % interval.
    """

    name: str
    says: str
    value: float | None
    at_least: float | None
    at_most: float | None
    passed: bool
    on: str = ""


@dataclass(frozen=True)
class Verdict:
    """Yes only if every rule passed."""

    may_plan: bool
    rules: tuple[Rule, ...]

    def text(self) -> str:
        failed = [f"{rule.name} {_number(rule.value)} ({_range(rule)})" for rule in self.rules if not rule.passed]
        return "may be planned with" if self.may_plan else "may not be planned with: " + "; ".join(failed)


def judge(numbers: Mapping[str, float | None], bars: Bars, on: Mapping[str, str] | None = None) -> Verdict:
    """`numbers`, and what each was measured `on`, by the name of their rule; one that is missing or not finite fails its rule."""
    rules = [
        _rule(numbers, "one_step", "One frame ahead, imagination errs less than copying the last frame seen", most=bars.one_step),
        _rule(numbers, "five_steps", "Five frames ahead, it errs less than copying", most=bars.five_steps),
        _rule(numbers, "ten_steps", "Ten frames ahead, it errs less than copying", most=bars.ten_steps),
        _rule(numbers, "action_gain", "Another clip's actions make the error worse", least=bars.action_gain),
        _rule(
            numbers,
            "deviation",
            "Actions change the future as much as in the real world",
            least=bars.deviation_low,
            most=bars.deviation_high,
        ),
        _rule(numbers, "four_steps", "Four sampling steps err as little as many", most=bars.four_steps),
        _rule(
            numbers,
            "coverage",
            "Bands hold as often as they say on episodes of their own",
            least=bars.coverage_low,
            most=bars.coverage_high,
        ),
        _rule(numbers, "calibration_clips", "Bands and their test rest on enough clips", least=float(bars.calibration_clips)),
    ]
    if bars.plan_rank is not None:
        rules.append(_rule(numbers, "plan_rank", "Plans that the model prefers really end nearer the goal", least=bars.plan_rank))
    told = tuple(replace(rule, on=(on or {}).get(rule.name, "")) for rule in rules)
    return Verdict(all(rule.passed for rule in rules), told)


def read(folder: Path, weights: str) -> Verdict | None:
    """The verdict that lies beside these weights (hash); None where they were never judged."""
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if record["weights"] != weights:
            return None
        return Verdict(bool(record["may_plan"]), tuple(Rule(**rule) for rule in record["rules"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError("the verdict of a checkpoint is damaged", got=repr(error), mend="evaluate it again: wm evaluate") from error


def _rule(numbers: Mapping[str, float | None], name: str, says: str, least: float | None = None, most: float | None = None) -> Rule:
    value = numbers.get(name)
    if value is not None and not math.isfinite(value):
        value = None
    passed = value is not None and (least is None or value >= least) and (most is None or value <= most)
    return Rule(name, says, value, least, most, passed)


def _number(value: float | None) -> str:
    return "was not measured" if value is None else f"is {value:.3g}"


def _range(rule: Rule) -> str:
    parts = [
        f"at least {rule.at_least:g}" if rule.at_least is not None else "",
        f"at most {rule.at_most:g}" if rule.at_most is not None else "",
    ]
    return ", ".join(part for part in parts if part)
