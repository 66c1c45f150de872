"""The page of a fine-tuning: whether the new model is offered and why, what it cost in old knowledge, and how that went step by step."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.offer import Compared, Offer
from wm_core.evaluation.page import shown, table
from wm_core.evaluation.verdict import Verdict
from wm_core.training.forgetting import Watch

PAGE, RECORD, PICTURE = "finetune.md", "finetune.json", "finetune.png"


def write(offer: Offer, watch: Watch, folder: Path) -> list[Path]:
    """Write finetune.md, finetune.json and finetune.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(offer, watch, folder / PICTURE)
    record = {"offer": asdict(offer), "monitor": asdict(watch), "stopped": watch.stopped}
    (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    (folder / PAGE).write_text(markdown(offer, watch), encoding="utf-8")
    return [folder / PAGE, folder / RECORD, folder / PICTURE]


def markdown(offer: Offer, watch: Watch) -> str:
    """The page; it names its picture as `write` calls it."""
    rows = [[kind, *_numbers(one)] for kind, one in (("new", offer.new), ("old", offer.old))]
    stopped = f", stopped there because the error on old clips rose above {watch.worsening:g} times that before" if watch.stopped else ""
    lines = [
        f"# Fine-tuning: {offer.reason}",
        "",
        f"![errors](./{PICTURE})",
        "",
        f"Weights {offer.before[:12]} became {offer.after[:12]}, the best of {watch.measured[-1].step} steps{stopped}: after {offer.step}.",
        "",
        "Errors are mean squared errors of imagined frames, in normalised latents, on held-out clips that decided nothing before; after / "
        "before is of the same clips. Brackets are 90 % intervals over episodes.",
        "",
        *table(["clips", "number", "episodes", "error before", "after", "after / before"], rows),
        *table(["rule", "measured", "at most", ""], [_rule(rule.name, rule.value, rule.at_most, rule.passed) for rule in offer.rules]),
        "## Verdicts",
        "",
        "On all held-out episodes of each set. They tell more and do not decide the offer.",
        "",
    ]
    for one in offer.verdicts:
        lines += [f"- {one.kind}, {one.name}, before: {one.before.text()}", f"- {one.kind}, {one.name}, after: {one.after.text()}"]
        lines += ["", *_rules(one.before, one.after)]
    return "\n".join([*lines, ""])


def _numbers(one: Compared) -> list[str]:
    return [f"{one.clips}", f"{one.episodes}", shown(one.before, 4), shown(one.after, 4), shown(one.ratio)]


def _rule(name: str, value: float | None, at_most: float | None, passed: bool) -> list[str]:
    return [name, "none" if value is None else f"{value:.3f}", f"{at_most:g}" if at_most is not None else "", "yes" if passed else "no"]


def _rules(before: Verdict, after: Verdict) -> list[str]:
    rows = [
        [one.says, *("none" if rule.value is None else f"{rule.value:.3g}{'' if rule.passed else ' (no)'}" for rule in (one, other))]
        for one, other in zip(before.rules, after.rules, strict=True)
    ]
    return table(["rule", "before", "after"], rows)


def draw(offer: Offer, watch: Watch, path: Path) -> None:
    """Errors over the steps in units of those before, and the two ratios that decided."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2, width_ratios=[2, 1])
    _draw_steps(axes[0], offer, watch)
    _draw_ratios(axes[1], {"new": offer.new.ratio, "old": offer.old.ratio}, [rule.at_most for rule in offer.rules])
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.savefig(path, dpi=110)


def _draw_steps(axis: Any, offer: Offer, watch: Watch) -> None:
    steps = [one.step for one in watch.measured]
    for kind, colour in (("new", "tab:orange"), ("old", "tab:blue")):
        first = getattr(watch.measured[0], kind)
        axis.plot(steps, [getattr(one, kind) / first for one in watch.measured], "o-", ms=3, color=colour, label=f"{kind} clips, watched")
    axis.axhline(watch.worsening, color="tab:blue", lw=0.8, ls=":", label="bound on old clips")
    axis.axvline(offer.step, color="black", lw=0.8, ls="--", label="best")
    axis.set_ylim(bottom=0.0)
    axis.set_xlabel("step", fontsize=9)
    axis.set_ylabel("error / error before", fontsize=9)
    axis.legend(fontsize=7)


def _draw_ratios(axis: Any, ratios: dict[str, Estimate], bounds: list[float | None]) -> None:
    for index, ((kind, ratio), bound) in enumerate(zip(ratios.items(), bounds, strict=True)):
        reach = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        axis.errorbar([index], [ratio.value], reach, fmt="o", capsize=3, color={"new": "tab:orange", "old": "tab:blue"}[kind])
        if bound is not None:
            axis.hlines(bound, index - 0.3, index + 0.3, color="black", lw=0.8, ls=":")
    axis.set_xticks(range(len(ratios)), [f"{kind}, judged" for kind in ratios], fontsize=8)
    axis.set_xlim(-0.6, len(ratios) - 0.4)
    axis.set_ylim(bottom=0.0)
    axis.set_ylabel("after / before, 90 %", fontsize=9)
