"""Whether a fine-tuned model is offered in place of the one it came from: better on what is new, not worse on what is old."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wm_core.evaluation import bootstrap, imagined
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.held_out import HeldOut
from wm_core.evaluation.imagined import Draw, recorded
from wm_core.evaluation.verdict import Rule, Verdict
from wm_core.world_model.world_model import WorldModel

FILE = "offer.json"


@dataclass(frozen=True)
class Compared:
    """Mean squared errors of imagined frames on the same clips, over all horizons; ratio: after / before, paired by clip."""

    clips: int
    episodes: int
    horizon: int
    before: Estimate
    after: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class SetVerdicts:
    """The verdict on one set's held-out episodes with the checkpoint that was begun with, and with the new one."""

    kind: str
    name: str
    before: Verdict
    after: Verdict


@dataclass(frozen=True)
class Offer:
    """As offer.json holds it: begun with weights of hash `before`, made those of hash `after` in so many steps.

    The new ones are offered when every rule passed; `verdicts` tell more, and do not decide.
    """

    offered: bool
    reason: str
    before: str
    after: str
    step: int
    new: Compared
    old: Compared
    rules: tuple[Rule, ...]
    verdicts: tuple[SetVerdicts, ...]


def compared(before: WorldModel, after: WorldModel, clips: HeldOut, seeds: int) -> Compared:
    """Both models on the same clips, as each samples by itself."""
    one, other = (_errors(model, clips, seeds) for model in (before, after))
    episodes = clips.episodes
    means = bootstrap.mean(one, episodes), bootstrap.mean(other, episodes)
    return Compared(len(clips), len(set(episodes.tolist())), clips.horizon, *means, bootstrap.ratio(other, one, episodes))


def error(model: WorldModel, clips: HeldOut, seeds: int) -> float:
    """Mean over clips and horizons."""
    return float(_errors(model, clips, seeds).mean())


def _errors(model: WorldModel, clips: HeldOut, seeds: int) -> imagined.Numbers:
    """Of each clip, the mean over its horizons (B,)."""
    draw = Draw(seeds, model.config.objective.resolved().sampling_steps, model.grids[0])
    return imagined.measure(model, clips, recorded(clips), draw).model[:, 0].mean(-1)


def rules(new: Estimate, old: Estimate, new_at_most: float, old_at_most: float) -> tuple[Rule, ...]:
    """From the ratios after / before; what counts is the end of the interval that speaks against the new model."""
    return (
        _rule("better on new", "On new clips it errs less than before, with its whole interval", new.high, new_at_most),
        _rule("not worse on old", "On old clips it errs hardly more than before, with its whole interval", old.high, old_at_most),
    )


def _rule(name: str, says: str, value: float, at_most: float) -> Rule:
    return Rule(name, says, value if math.isfinite(value) else None, None, at_most, math.isfinite(value) and value <= at_most)


def reason(decided: tuple[Rule, ...]) -> str:
    """One sentence for a person."""
    failed = [f"not shown to be {rule.name} ({_against(rule)})" for rule in decided if not rule.passed]
    return "withheld: " + "; ".join(failed) if failed else "offered: better on new clips, not worse on old ones"


def _against(rule: Rule) -> str:
    value = "no number" if rule.value is None else f"{rule.value:.2f} times the error before"
    return f"up to {value}, allowed {rule.at_most:g}"
