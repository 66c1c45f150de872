"""Looking at a dataset before training on it: rates, gaps, lag between action and motion, idling, saturation, corrupt episodes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data import metadata
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import EpisodeError
from wm_core.data.lerobot_writer import STAMP
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip
from wm_core.data.table import Table
from wm_core.robot.proprioception import ACTION_NAMES

LARGEST_LAG = 10  # rows
STILL = (2e-3, 1e-2)  # metres and rad per row: less than this in both is idling
NEAR_LIMIT = 0.98  # of the largest value seen: at or above counts as saturated
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Lag:
    """By how many rows the measured motion follows the action that fits it best, and how well it fits there (correlation)."""

    rows: int
    correlation: float


@dataclass(frozen=True)
class DatasetReport:
    """What was found. Shares are of rows; those about actions are NaN where none are known."""

    name: str
    root: str
    episodes: int
    rows: int
    hours: float
    fps: float
    measured_fps: float  # from real stamps where the dataset keeps them, else from its time column
    worst_gap: float  # s between two rows
    gaps: int  # places where more than one and a half periods lie between two rows
    cameras: dict[str, tuple[int, int]]  # height and width by role
    checked: int  # episodes whose rows and pictures were opened, and those that contradict themselves without
    corrupt: tuple[Skip, ...]
    silent: dict[str, float]  # by column: share of rows in which what it shows was not there, where the dataset tells that
    labelled: float  # share of rows with a known action
    idle: float
    saturated: dict[str, float]  # by component of the action
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    action_largest: tuple[float, ...]
    lag: Lag | None

    def text(self) -> str:
        """A page for a terminal."""
        lines = [
            f"{self.name} at {self.root}",
            f"  {self.episodes} episodes, {self.rows} rows, {self.hours:.2f} h",
            f"  rate {self.fps:g} Hz, measured {self.measured_fps:.3f} Hz; {self.gaps} gaps, the longest {self.worst_gap:.3f} s",
            "  cameras " + ", ".join(f"{role} {height}x{width}" for role, (height, width) in self.cameras.items()),
            f"  corrupt: {len(self.corrupt)} episodes of {self.checked} checked",
            *(f"    {count} x {reason}" for reason, count in Counter(skip.reason.split(";")[0] for skip in self.corrupt).most_common()),
            *(
                f"  {key} was silent in {share:.1%} of the rows: clips of them are left out"
                for key, share in self.silent.items()
                if share > 0.0
            ),
            f"  actions known in {self.labelled:.1%} of the rows",
        ]
        if self.labelled > 0.0:
            lines.append(
                f"  idle {self.idle:.1%}; at a limit: " + ", ".join(f"{name} {share:.1%}" for name, share in self.saturated.items())
            )
        if self.lag is not None:
            lines.append(f"  motion follows the action by {self.lag.rows} rows (correlation {self.lag.correlation:.2f})")
        return "\n".join(lines)

    def mapping(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return dataclasses.asdict(self)


@dataclass
class _Found:
    """What is gathered episode by episode."""

    actions: list[NDArray[np.float32]]
    known: list[NDArray[np.bool_]]
    positions: list[Numbers]
    periods: list[Numbers]
    corrupt: list[Skip]
    sizes: dict[str, tuple[int, int]]
    alive: dict[str, list[NDArray[np.bool_]]]


def describe(root: Path) -> DatasetConfig:
    """A description of a dataset that has none: all its cameras by their own names, no actions."""
    meta = metadata.load(root)
    return DatasetConfig(name=root.name, fps=meta.fps, cameras={key.rsplit(".", 1)[-1]: key for key in meta.cameras()})


def inspect(root: Path, config: DatasetConfig | None = None, most: int = 1000, picture: Path | None = None) -> DatasetReport:
    """Open all rows and the first and last picture of up to `most` episodes, spread evenly; draw what was found at `picture`."""
    reader = DatasetReader(root, config or describe(root))
    total = len(reader.metadata)
    chosen = np.unique(np.linspace(0, total - 1, min(most, total)).astype(np.int64))
    found = _Found([], [], [], [], [Skip(str(root), episode, reason) for episode, reason in reader.faults.items()], {}, {})
    stamps = Table(reader.metadata, [STAMP] if STAMP in reader.metadata.features else [])
    for episode in chosen:
        if int(episode) in reader.faults:
            continue
        try:
            _open(reader, stamps, int(episode), found)
        except EpisodeError as error:
            found.corrupt.append(Skip(str(root), int(episode), str(error)))
    report = _report(reader, len(reader.faults.keys() | set(chosen.tolist())), found)
    if picture is not None:
        draw(report, reader, found.actions, found.known, picture)
    return report


def _open(reader: DatasetReader, stamps: Table, episode: int, found: _Found) -> None:
    config = reader.config
    length = int(reader.metadata.length[episode])
    columns = stamps.episode(episode)
    for role in config.cameras:
        ends = reader.frames(episode, np.unique([0, length - 1]), role)
        found.sizes[role] = (int(ends.shape[2]), int(ends.shape[3]))
    actions, known = reader.actions(episode, np.arange(length + 1))
    found.actions.append(actions)
    found.known.append(known)
    for key, rows in reader.alive(episode, [*config.cameras.values(), *config.state]).items():
        found.alive.setdefault(key, []).append(rows)
    found.periods.append(np.diff(columns[STAMP if STAMP in columns else "timestamp"].ravel().astype(np.float64)))
    if config.state:
        found.positions.append(reader.columns(episode)[config.state[0]].astype(np.float64))


def _report(reader: DatasetReader, checked: int, found: _Found) -> DatasetReport:
    meta = reader.metadata
    periods = np.concatenate(found.periods) if found.periods else np.zeros(0)
    actions = np.concatenate(found.actions) if found.actions else np.zeros((0, 7), dtype=np.float32)
    known = np.concatenate(found.known) if found.known else np.zeros(0, dtype=np.bool_)
    acts = actions[known].astype(np.float64)
    some = len(acts) > 0
    largest = np.abs(acts).max(axis=0) if some else np.zeros(7)
    saturated = {name: _share_at_limit(acts[:, index], largest[index]) for index, name in enumerate(ACTION_NAMES[:6])} if some else {}
    idle = (np.linalg.norm(acts[:, :3], axis=1) < STILL[0]) & (np.linalg.norm(acts[:, 3:6], axis=1) < STILL[1])
    return DatasetReport(
        name=reader.name,
        root=str(reader.root),
        episodes=len(meta),
        rows=int(meta.length.sum()),
        hours=float(meta.length.sum() / meta.fps / 3600.0),
        fps=meta.fps,
        measured_fps=float(1.0 / np.median(periods)) if len(periods) else float("nan"),
        worst_gap=float(periods.max()) if len(periods) else float("nan"),
        gaps=int(np.sum(periods > 1.5 / meta.fps)),
        cameras=found.sizes,
        checked=checked,
        corrupt=tuple(sorted(found.corrupt, key=lambda skip: skip.episode)),
        silent={key: float(1.0 - np.concatenate(rows).mean()) for key, rows in found.alive.items()},
        labelled=float(known.mean()) if len(known) else 0.0,
        idle=float(idle.mean()) if some else float("nan"),
        saturated=saturated,
        action_mean=tuple(acts.mean(axis=0).tolist()) if some else (),
        action_std=tuple(acts.std(axis=0).tolist()) if some else (),
        action_largest=tuple(largest.tolist()),
        lag=action_lag(found.actions, found.positions) if some and found.positions else None,
    )


def _share_at_limit(values: Numbers, largest: float) -> float:
    """Of the rows, those within two percent of the largest value; nothing is at a limit that never moves."""
    return float(np.mean(np.abs(values) >= NEAR_LIMIT * largest)) if largest > 0.0 else 0.0


def action_lag(actions: list[NDArray[np.float32]], positions: list[Numbers]) -> Lag | None:
    """The lag L in 0 .. LARGEST_LAG that correlates a[t] best with x[t + L + 1] - x[t + L], over the three axes of all episodes.

    actions (T, 7) and positions (T, >= 3) by episode. None where nothing moves, or the position does not explain itself by any action.
    """
    scores = []
    for lag in range(LARGEST_LAG + 1):
        asked = [acts[: len(acts) - lag - 1, :3] for acts in actions if len(acts) > lag + 2]
        done = [np.diff(place[lag:, :3], axis=0) for place in positions if len(place) > lag + 2]
        if not asked:
            break
        a, b = np.concatenate(asked).astype(np.float64).ravel(), np.concatenate(done).ravel()
        spread = float(a.std() * b.std())
        scores.append(float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0.0 else 0.0)
    if not scores or max(scores) <= 0.0:
        return None
    best = int(np.argmax(scores))
    return Lag(best, scores[best])


def draw(
    report: DatasetReport, reader: DatasetReader, actions: list[NDArray[np.float32]], known: list[NDArray[np.bool_]], path: Path
) -> None:
    """A picture: first frames of some episodes, lengths, and what the actions look like."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    top.suptitle(f"{report.name}: {report.episodes} episodes, {report.hours:.2f} h, {len(report.corrupt)} corrupt")
    good = [episode for episode in reader.episodes if episode not in {skip.episode for skip in report.corrupt}]
    shown = [good[index] for index in np.unique(np.linspace(0, len(good) - 1, min(6, len(good))).astype(int))] if good else []
    if shown:
        role = next(iter(reader.config.cameras))
        for axes, episode in zip(np.ravel(top.subplots(1, len(shown))), shown, strict=True):
            axes.imshow(reader.frames(int(episode), np.zeros(1, dtype=np.int64), role)[0].transpose(1, 2, 0))
            axes.set_title(f"{int(episode)}: {reader.metadata.tasks[episode][:24]}", fontsize=8)
            axes.axis("off")
    lengths, shifts, turns = bottom.subplots(1, 3)
    lengths.hist(reader.metadata.length / reader.metadata.fps, bins=30)
    lengths.set_xlabel("length of an episode, s")
    acts = np.concatenate(actions)[np.concatenate(known)] if actions else np.zeros((0, 7))
    for axes, part, unit in ((shifts, slice(0, 3), "translation, m per row"), (turns, slice(3, 6), "rotation, rad per row")):
        axes.set_xlabel(unit)
        if len(acts):
            axes.hist(acts[:, part], bins=40, histtype="step", label=ACTION_NAMES[part])
            axes.legend(fontsize=8)
        else:
            axes.set_title("no actions known", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
