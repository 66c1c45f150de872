"""Pictures of an evaluation of control: shares of successes with their intervals, and errors over the time of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.evaluation.control import JudgeConfig, Summary, Trial

COLOURS = {
    "random": "tab:grey",
    "copy": "tab:brown",
    "informed": "tab:green",
    "planner": "tab:orange",
    "deterministic": "tab:purple",
    "truth": "tab:blue",
    "controller": "tab:red",
}
OTHER = "black"


def draw_success(found: Sequence[Summary], path: Path) -> None:
    """One group of points for each scene and kind."""
    rooms, policies = list(dict.fromkeys((one.scene, one.kind) for one in found)), list(dict.fromkeys(one.policy for one in found))
    figure, (axis,) = _figure(1, max(6.0, 1.5 * len(rooms) + 2.0))
    for number, policy in enumerate(policies):
        own = [one for one in found if one.policy == policy]
        beside = 0.7 * ((number + 0.5) / len(policies) - 0.5)
        across = [rooms.index((one.scene, one.kind)) + beside for one in own]
        shares = [one.successes / one.trials for one in own]
        reach = [
            [share - one.low for share, one in zip(shares, own, strict=True)],
            [one.high - share for share, one in zip(shares, own, strict=True)],
        ]
        axis.errorbar(
            across, shares, np.maximum(reach, 0.0), fmt="o", ms=4, lw=1.4, capsize=2, color=COLOURS.get(policy, OTHER), label=policy
        )
    axis.set_xticks(range(len(rooms)), [f"{kind},\n{scene.replace('_', ' ')}" for scene, kind in rooms], fontsize=8)
    axis.set_ylim(-0.03, 1.03)
    _finish(axis, "share of successes, 95 % interval")
    _save(figure, path)


def draw_errors(kind: str, trials: Mapping[str, Sequence[Trial]], judge: JudgeConfig, step: float, path: Path) -> None:
    """Median and quartiles over trials after each step of the model, and the tolerance."""
    every = {
        "tool, cm": (0, 100.0, judge.tolerance),
        "tool, rad": (1, 1.0, judge.turn_tolerance),
        "object, cm": (2, 100.0, judge.object_tolerance),
    }
    shown = {"reach": ["tool, cm"], "turn": ["tool, cm", "tool, rad"], "push": ["object, cm"]}[kind]
    figure, axes = _figure(len(shown), 6.0 if len(shown) == 1 else 9.0)
    for axis, name in zip(axes, shown, strict=True):
        column, scale, tolerance = every[name]
        for policy, done in trials.items():
            errors = scale * np.stack([trial.errors[:, column] for trial in done])
            low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75), axis=0)
            times, colour = step * np.arange(1, errors.shape[1] + 1), COLOURS.get(policy, OTHER)
            axis.plot(times, middle, color=colour, lw=1.4, label=f"{policy} ({len(done)})")
            axis.fill_between(times, low, high, color=colour, alpha=0.15, lw=0.0)
        axis.axhline(scale * tolerance, color="black", lw=0.8, ls=":")
        axis.set_xlabel("s", fontsize=9)
        axis.set_ylim(bottom=0.0)
        _finish(axis, f"error of {name}")
    _save(figure, path)


def _figure(columns: int, width: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.ravel(figure.subplots(1, columns, squeeze=False))


def _finish(axis: Any, up: str) -> None:
    axis.set_ylabel(up, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)  # above, where no point is


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
