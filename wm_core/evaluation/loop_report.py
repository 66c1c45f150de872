"""The report of the loop: success as it was, after the scene changed, and after learning from what was recorded there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wm_core.evaluation.control import Summary
from wm_core.evaluation.page import table

PAGE, RECORD, PICTURE = "loop.md", "loop.json", "loop.png"
WORDS = ("as trained, shipped model", "scene changed, shipped model", "scene changed, fine-tuned model")


@dataclass(frozen=True)
class Loop:
    """Success on the same tasks: before the change, after it, and after fine-tuning; what the offer said; seconds by stage."""

    trained: Summary
    changed: Summary
    tuned: Summary
    offer: str
    episodes: int
    seed: int
    seconds: Mapping[str, float]
    model: str

    @property
    def summaries(self) -> tuple[Summary, Summary, Summary]:
        return self.trained, self.changed, self.tuned

    @property
    def lost(self) -> float:
        """Share of successes that the change of the scene cost."""
        return self.trained.rate - self.changed.rate

    @property
    def recovered(self) -> float:
        """Of that, the share that fine-tuning brought back; 0 where nothing was lost. Of counts, so that two thirds are two thirds."""
        lost = self.trained.successes - self.changed.successes
        return (self.tuned.successes - self.changed.successes) / lost if lost > 0 else 0.0

    @property
    def outcome(self) -> str:
        """What the change cost and what came back, in words."""
        if self.lost <= 0.0:
            return "the change cost no success, so that none could come back"
        return f"the change cost {100 * self.lost:.0f} points of success; {100 * self.recovered:.0f} % of them came back"


def write(loop: Loop, pictures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write loop.md, loop.json and loop.png into `folder`; pictures: views (H, W, 3) of the two scenes by name."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(loop, pictures, folder / PICTURE)
    record = {**asdict(loop), "lost": loop.lost, "recovered": loop.recovered}
    (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    (folder / PAGE).write_text(markdown(loop), encoding="utf-8")
    return [folder / PAGE, folder / RECORD, folder / PICTURE]


def markdown(loop: Loop) -> str:
    """The page; it names its picture as `write` calls it."""
    rows = [
        [words, f"{one.successes} of {one.trials}", f"{one.rate:.2f} ({one.low:.2f} to {one.high:.2f})", f"{100 * one.tool_error:.1f}"]
        for words, one in zip(WORDS, loop.summaries, strict=True)
    ]
    spent = sum(seconds for name, seconds in loop.seconds.items() if name in ("record", "old", "fine-tune"))
    return "\n".join(
        [
            "# The loop: the scene changes, episodes are recorded there, the model learns from them",
            "",
            f"![success]({PICTURE})",
            "",
            f"Reaching goals given as pictures, in lock-step; the same {loop.trained.trials} tasks of seed {loop.seed} each time, goals "
            "pictured in the scene that they are to be reached in. Brackets are 95 % intervals by Wilson's score.",
            "",
            *table(["scene and model", "successes", "share", "tool at the end, cm (median)"], rows),
            f"{loop.outcome[0].upper()}{loop.outcome[1:]}.",
            "",
            f"{loop.episodes} episodes were recorded through the nodes. Recording, collecting what is known and fine-tuning took "
            f"{spent / 60:.1f} minutes, evaluation aside. The fine-tuned model ({loop.model[:12]}): {loop.offer}.",
            "",
            *table(["stage", "s"], [[name, f"{seconds:.0f}"] for name, seconds in loop.seconds.items()]),
        ]
    )


def draw(loop: Loop, pictures: Mapping[str, Any], path: Path) -> None:
    """The two scenes, and the three shares with their intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, len(pictures) + 1, width_ratios=[*([1.0] * len(pictures)), 2.2])
    for axis, (name, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    shares = [one.rate for one in loop.summaries]
    reach = [
        [share - one.low for share, one in zip(shares, loop.summaries, strict=True)],
        [one.high - share for share, one in zip(shares, loop.summaries, strict=True)],
    ]
    axis = axes[-1]
    axis.bar(range(3), shares, yerr=reach, capsize=4, color=["tab:green", "tab:red", "tab:orange"], alpha=0.7)
    axis.set_xticks(range(3), [words.replace(", ", ",\n") for words in WORDS], fontsize=8)
    axis.set_ylim(0.0, 1.05)
    axis.set_ylabel("share of successes, 95 % interval", fontsize=8)
    axis.grid(alpha=0.3, axis="y")
    figure.savefig(path, dpi=110)
