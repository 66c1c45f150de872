"""The report of the mission: goals given as pictures, what was imagined, where the arm ended; as JSON, page and picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass
class Attempt:
    """One goal: distance of the tool from it (T, 2) in s and m, share of the latent distance left (T, 2) in s, and pictures by name."""

    name: str
    start_cm: float
    outcome: str = ""
    reached: bool = False
    seconds: float = 0.0
    end_cm: float = float("nan")
    planning_ms: list[float] = field(default_factory=list)
    missed: int = 0
    away: list[tuple[float, float]] = field(default_factory=list)
    share: list[tuple[float, float]] = field(default_factory=list)
    pictures: dict[str, Picture] = field(default_factory=dict)


@dataclass
class Mission:
    """All attempts, and what answered a request that must not move anything."""

    model: str
    plan_only: str = ""
    attempts: list[Attempt] = field(default_factory=list)


def write(mission: Mission, folder: Path) -> list[Path]:
    """Write report.md, report.json and mission.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    page, picture, data = folder / "report.md", folder / "mission.png", folder / "report.json"
    page.write_text(markdown(mission, picture.name), encoding="utf-8")
    draw(mission, picture)
    numbers = [{name: value for name, value in asdict(attempt).items() if name != "pictures"} for attempt in mission.attempts]
    summary = {"model": mission.model, "plan_only": mission.plan_only, "attempts": numbers}
    data.write_text(json.dumps(summary, indent=1, default=float) + "\n", encoding="utf-8")
    return [page, picture, data]


def markdown(mission: Mission, picture: str) -> str:
    """The report as a page."""
    rows = [
        f"| {one.name} | {one.start_cm:.1f} | {one.outcome} | {one.seconds:.1f} | {one.end_cm:.1f} "
        f"| {_median(one.planning_ms)} | {one.missed} |"
        for one in mission.attempts
    ]
    header = "| goal | away at the start, cm | outcome | s | away at the end, cm | a plan takes, ms | missed deadlines |"
    return "\n".join(
        [
            "# Mission: goals given as pictures",
            "",
            f"![what happened]({picture})",
            "",
            f"World model {mission.model}. Planning without moving: {mission.plan_only}.",
            "",
            header,
            "|---|---:|---|---:|---:|---:|---:|",
            *rows,
            "",
            "The controller sees pictures, and where it told the tool to go. Centimetres are the report's own, from the joint states.",
            "",
        ]
    )


def _median(values: list[float]) -> str:
    return f"{np.median(values):.0f}" if values else ""


SHOWN = ("start", "imagined", "end", "goal")


def draw(mission: Mission, target: Path) -> None:
    """A row for each attempt: the view at the start, what the first plan imagined, the view at the end, the goal, and the way there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(len(mission.attempts), 1)
    figure = Figure(figsize=(15, 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(rows, len(SHOWN) + 1, squeeze=False, width_ratios=[1, 3, 1, 1, 1.7])
    for attempt, row in zip(mission.attempts, axes, strict=False):
        for name, axis in zip(SHOWN, row, strict=False):
            axis.set_axis_off()
            if name in attempt.pictures:
                axis.imshow(attempt.pictures[name], interpolation="nearest")
            axis.set_title(f"{attempt.name}: {name}" if name == "start" else name, fontsize=9)
        _draw_way(attempt, row[-1])
    figure.savefig(target, dpi=110)


def _draw_way(attempt: Attempt, axis: Any) -> None:
    away, share = (np.array(part).reshape(-1, 2) for part in (attempt.away, attempt.share))
    axis.plot(away[:, 0], 100.0 * away[:, 1], color="tab:blue", label="tool from the goal, cm")
    axis.axhline(2.0, color="tab:blue", lw=0.7, ls="--")
    axis.set_ylim(bottom=0.0)
    axis.set_xlabel("s", fontsize=8)
    axis.tick_params(labelsize=7)
    other = axis.twinx()
    other.plot(share[:, 0], share[:, 1], color="tab:orange", label="latent distance, share of the start's")
    other.set_ylim(bottom=0.0)
    other.tick_params(labelsize=7)
    axis.set_title(f"{attempt.outcome}, {attempt.end_cm:.1f} cm off", fontsize=9)
    lines = [*axis.get_lines()[:1], *other.get_lines()]
    axis.legend(lines, [line.get_label() for line in lines], fontsize=6, loc="upper right")
