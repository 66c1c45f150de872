"""The report of the guard's demonstration: what was asked of the arm, where it went, what the guard cut; as JSON, page and picture."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
SHOWN_FRAMES = 6


@dataclass
class Leg:
    """One thing the arm was asked to do: the waypoints (N, 3) in metres, how it ended, and how far off the last pose was."""

    name: str
    asked: str
    waypoints: list[list[float]]
    outcome: str = ""
    reached: bool = False
    seconds: float = 0.0
    error_mm: float = float("nan")
    requested_mm: float = 0.0
    executed_mm: float = 0.0
    smallest_scale: float = 1.0
    cut: dict[str, int] = field(default_factory=dict)
    began: float = 0.0


@dataclass
class Demonstration:
    """Everything that was seen: tool positions (T, 4) as t x y z in seconds and metres, camera frames with their times, the legs."""

    robot: str
    legs: list[Leg] = field(default_factory=list)
    path: list[tuple[float, float, float, float]] = field(default_factory=list)
    speeds: list[tuple[float, float]] = field(default_factory=list)
    frames: list[tuple[float, Picture]] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def leg_at(self, name: str) -> Leg:
        return next(leg for leg in self.legs if leg.name == name)


def write(demonstration: Demonstration, folder: Path, limits: dict[str, float]) -> list[Path]:
    """Write report.json, report.md and guard_demo.png into `folder`; `limits` are lines drawn at speeds (m/s) by name."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, page, data = folder / "guard_demo.png", folder / "report.md", folder / "report.json"
    draw(demonstration, picture, limits)
    page.write_text(markdown(demonstration, picture.name), encoding="utf-8")
    summary = {
        "robot": demonstration.robot,
        "legs": [asdict(leg) for leg in demonstration.legs],
        "guard": demonstration.counters,
        "stops": demonstration.stops,
    }
    data.write_text(json.dumps(summary, indent=2, default=float) + "\n", encoding="utf-8")
    return [page, picture, data]


def markdown(demonstration: Demonstration, picture: str) -> str:
    """The report as a page."""
    rows = [
        f"| {leg.name} | {leg.asked} | {leg.outcome} | {leg.seconds:.1f} | {_number(leg.error_mm)} | {leg.requested_mm:.0f} "
        f"| {leg.executed_mm:.0f} | {leg.smallest_scale:.2f} | {_cuts(leg.cut)} |"
        for leg in demonstration.legs
    ]
    counters = ", ".join(f"{name} {count}" for name, count in demonstration.counters.items())
    stops = "\n".join(f"- {stop}" for stop in demonstration.stops) or "- none"
    header = "| leg | asked | outcome | s | off, mm | requested, mm | executed, mm | smallest scale | cut by (ticks) |"
    return "\n".join(
        [
            f"# Demonstration: {demonstration.robot}",
            "",
            f"![what happened]({picture})",
            "",
            header,
            "|---|---|---|---:|---:|---:|---:|---:|---|",
            *rows,
            "",
            f"Guard: {counters}.",
            "",
            "Stops (latched by the guard):",
            "",
            stops,
            "",
        ]
    )


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def _cuts(cut: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(cut).most_common(4)) or "nothing"


def draw(demonstration: Demonstration, target: Path, limits: dict[str, float]) -> None:
    """One picture: camera frames along the top, the path from two sides and the speed of the tool below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.0, 1.6])
    top, bottom = parts
    _draw_frames(demonstration, top)
    axes = bottom.subplots(1, 3, width_ratios=[1, 1, 1.5])
    _draw_path(demonstration, axes[0], "y", "z")
    _draw_path(demonstration, axes[1], "x", "z")
    _draw_speed(demonstration, axes[2], limits)
    figure.savefig(target, dpi=110)


def _draw_frames(demonstration: Demonstration, part: Any) -> None:
    frames = demonstration.frames
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(SHOWN_FRAMES, len(frames))).astype(int)] if frames else []
    for axis, (when, picture) in zip(part.subplots(1, max(len(chosen), 1), squeeze=False)[0], chosen, strict=False):
        axis.imshow(picture)
        axis.set_title(f"{when:.1f} s", fontsize=9)
        axis.set_axis_off()


def _draw_path(demonstration: Demonstration, axis: Any, horizontal: str, vertical: str) -> None:
    columns = {"x": 1, "y": 2, "z": 3}
    path = np.array(demonstration.path).reshape(-1, 4)
    across, up = columns[horizontal], columns[vertical]
    axis.plot(path[:, across], path[:, up], lw=1.2, color="tab:blue", label="tool, measured")
    for reached, colour, label in ((True, "tab:green", "asked, reached"), (False, "tab:red", "asked, not reached")):
        points = np.array([point for leg in demonstration.legs if leg.reached is reached for point in leg.waypoints]).reshape(-1, 3)
        axis.plot(points[:, across - 1], points[:, up - 1], "x", ms=9, mew=2, color=colour, label=label)
    axis.set_xlabel(f"{horizontal} (m)")
    axis.set_ylabel(f"{vertical} (m)")
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def _draw_speed(demonstration: Demonstration, axis: Any, limits: dict[str, float]) -> None:
    asked = np.array(demonstration.speeds).reshape(-1, 2)
    axis.step(asked[:, 0], asked[:, 1], lw=0.8, color="tab:orange", label="asked", where="post")
    path = np.array(demonstration.path).reshape(-1, 4)
    if len(path) > 10:
        stride = 5
        moved = np.linalg.norm(path[stride:, 1:] - path[:-stride, 1:], axis=1) / np.maximum(path[stride:, 0] - path[:-stride, 0], 1e-6)
        axis.plot(path[stride:, 0], moved, lw=1.0, color="tab:blue", label="measured")
    for name, value in limits.items():
        axis.axhline(value, color="tab:red", lw=0.8, ls="--", label=name)
    top = 1.15 * max([value for _, value in demonstration.speeds] + list(limits.values()))
    axis.set_ylim(0.0, top)
    for leg in demonstration.legs:
        axis.axvline(leg.began, color="grey", lw=0.5)
        axis.text(leg.began + 0.1, 0.98 * top, leg.name, fontsize=7, rotation=90, va="top")
    axis.set_xlabel("time (s)")
    axis.set_ylabel("speed of the tool (m/s)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="center right")
