"""The report of a replay evaluation: replay.json, replay.md, a plot, and a strip of what came over what was imagined."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wm_core.evaluation.page import table
from wm_core.evaluation.plots import MODEL, TRUE, new_figure, save
from wm_core.evaluation.replay import Replay
from wm_core.evaluation.replay_result import Beginning, ReplayResult
from wm_core.evaluation.strip import write_strip
from wm_core.vision.decoder import Decoder

PAGE, NUMBERS, PLOT, STRIP = "replay.md", "replay.json", "replay.png", "strip.png"


def write(result: ReplayResult, folder: Path, name: str, strip: bool) -> Path:
    """The page; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = asdict(result) | {"ratio": result.prediction.ratio}
    numbers |= {
        name: getattr(result, name) for name in ("cosine", "magnitude", "turn_cosine", "turn_magnitude", "planned_cut", "planned_left")
    }
    (folder / NUMBERS).write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    _plot(result, folder / PLOT)
    page = folder / PAGE
    page.write_text("\n".join(_lines(result, name, strip)), encoding="utf-8")
    return page


def draw_strip(replay: Replay, found: tuple[Beginning, Tensor], decoder: Decoder, path: Path) -> bool:
    """Pictures of the recording over the same instants imagined from the first of them; False where the pictures were not kept."""
    beginning, imagined = found
    stamps = [beginning.seen.stamp, *(frame.stamp for frame in beginning.future)]
    if any(stamp not in replay.pictures for stamp in stamps):
        return False
    seen = torch.stack([beginning.seen.latents[-1], *(frame.latents for frame in beginning.future)])
    decoded = _decoded(decoder, seen)
    future = np.concatenate([decoded[:1], _decoded(decoder, imagined)])
    camera = np.stack([replay.pictures[stamp] for stamp in stamps])
    write_strip(path, {"camera": camera, "true tokens,\ndecoded": decoded, "imagined,\ndecoded": future}, 1)
    return True


def _decoded(decoder: Decoder, tokens: Tensor) -> np.ndarray:
    return decoder.pictures(tokens.to(decoder.average.device)).permute(0, 2, 3, 1).cpu().numpy()


def _lines(result: ReplayResult, name: str, strip: bool) -> list[str]:
    lines = [
        f"# Replay of {name}",
        "",
        f"{result.frames} frames in {result.seconds:.1f} s; model {result.model[:12]}, encoder {result.encoder[:12]}.",
        f"The guard's words are those of {result.arm}.",
        "",
        *_predicted(result),
        *(_planned(result) if result.plans else ()),
        *_timed(result),
        "## What was heard, and missed",
        "",
        *table(("topic", "messages"), sorted((topic, str(count)) for topic, count in result.heard.items())),
        *([f"- {count} x {why}" for why, count in result.missed.items()] or ["Nothing was missed."]),
    ]
    if strip:
        lines += ["", "## What it imagined", "", f"![camera over imagination]({STRIP})"]
    return [*lines, ""]


def _predicted(result: ReplayResult) -> list[str]:
    told = result.prediction
    rows = [
        ("error, in units of holding the last frame", *(f"{value:.3f}" for value in told.ratio)),
        ("squared error of the last frame, held", *(f"{value:.4f}" for value in told.copy)),
    ]
    if told.covered is not None:
        rows.append((f"within the bands of {told.bands:.0%}", *(f"{value:.2f}" for value in told.covered)))
    return [
        "## What was predicted",
        "",
        f"From {told.starts} beginnings, with the actions that the guard carried out.",
        "",
        *table(("", *(f"{h} ahead" for h in range(1, len(told.model) + 1))), rows),
        f"![error and plans]({PLOT})",
        "",
    ]


def _planned(result: ReplayResult) -> list[str]:
    plans = result.plans
    shown = {
        "cosine of the planned and the done way, median": result.cosine,
        "planned way / done way, median": result.magnitude,
        "cosine of the planned and the done turn, median": result.turn_cosine,
        "planned turn / done turn, median": result.turn_magnitude,
        "plans whose first step a limit of the guard would have cut, share": result.planned_cut,
        "share of the planned way that the guard would have let through, median": result.planned_left,
        "time of a plan, s, median": float(np.median([one.seconds for one in plans])),
    }
    limits = sorted({limit for one in plans for limit in one.limits or ()})
    return [
        "## What would have been planned",
        "",
        f"{len(plans)} plans, each toward the frame that came later.",
        "",
        *table(("", "measured"), [(words, "none moved" if value is None else f"{value:.2f}") for words, value in shown.items()]),
        f"Limits that would have cut: {', '.join(limits) or 'none'}.",
        "",
    ]


def _timed(result: ReplayResult) -> list[str]:
    age = "not known: it was played" if result.age is None else f"{1e3 * result.age[0]:.1f}, {1e3 * result.age[1]:.1f} ms"
    times = [
        ("encoding a frame, p50, p95", f"{1e3 * result.encoding[0]:.1f}, {1e3 * result.encoding[1]:.1f} ms"),
        ("predicting from one beginning, mean", f"{1e3 * result.predicting:.1f} ms"),
        ("age of a frame when it came, p50, p95", age),
        ("the guard's words in which a limit cut", "not recorded" if result.guard_cut is None else f"{result.guard_cut:.1%}"),
    ]
    return ["## Time and the guard", "", *table(("", "measured"), times)]


def _plot(result: ReplayResult, path: Path) -> None:
    figure, axes = new_figure(1, 2)
    told = result.prediction
    horizons = list(range(1, len(told.model) + 1))
    axes[0].plot(horizons, told.ratio, "-o", color=MODEL, ms=3.0, label="error / holding the last frame")
    if told.covered is not None:
        axes[0].plot(horizons, told.covered, "-o", color=TRUE, ms=3.0, label="within the bands")
        axes[0].axhline(told.bands or 0.0, color=TRUE, lw=1.0, ls=":")
    axes[0].set_xlabel("frames ahead", fontsize=9)
    known = [(one.time - result.plans[0].time, one.cosine) for one in result.plans if one.cosine is not None]
    axes[1].plot([when for when, _ in known], [value for _, value in known], "o", color=MODEL, ms=3.5, label="cosine, planned and done")
    axes[1].set_xlabel("s", fontsize=9)
    axes[1].set_ylim(-1.05, 1.05)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axes[0].set_ylim(bottom=0.0)
    save(figure, path)
