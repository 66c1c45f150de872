"""What fewer sampling steps cost in error and spread, and save in time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from wm_core.evaluation import bootstrap
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.held_out import HeldOut
from wm_core.evaluation.imagined import ClipErrors, Draw, Grid, Imaginer, measure, recorded


@dataclass(frozen=True)
class StepsRow:
    """K = `steps`: at h = 1 .. H the squared error of the mean of the seeds, that / the largest K's, and the RMS spread between seeds.

    `overall` is the ratio of the errors summed over h. seconds_per_frame: of wall time, for a frame of one of the futures drawn at once.
    """

    steps: int
    error: tuple[Estimate, ...]
    to_finest: tuple[Estimate, ...]
    overall: Estimate
    spread: tuple[float, ...]
    seconds_per_frame: float


@dataclass(frozen=True)
class SamplingSteps:
    """The same clips and seeds with different K."""

    clips: int
    episodes: int
    seeds: int
    grid: Grid
    rows: tuple[StepsRow, ...]

    def at(self, steps: int) -> StepsRow | None:
        return next((row for row in self.rows if row.steps == steps), None)

    def held_against_more(self, steps: int) -> Estimate | None:
        """The overall ratio of K = `steps`; None where it was not measured, or is the largest K and so held against itself."""
        row = self.at(steps)
        return row.overall if row is not None and any(other.steps > steps for other in self.rows) else None


def sampling_steps(model: Imaginer, clips: HeldOut, steps: Collection[int], draw: Draw, clock: Callable[[], float]) -> SamplingSteps:
    """Imagine the same futures with every K of `steps`; `clock` tells seconds."""
    measured: dict[int, tuple[ClipErrors, float]] = {}
    for count in sorted(steps):
        begin = clock()
        errors = measure(model, clips, recorded(clips), replace(draw, steps=count))
        measured[count] = errors, (clock() - begin) / (len(clips) * clips.horizon * draw.seeds)
    finest = measured[max(measured)][0]
    rows = tuple(_row(count, errors, finest, seconds) for count, (errors, seconds) in measured.items())
    return SamplingSteps(len(clips), len(np.unique(clips.episodes)), draw.seeds, draw.grid, rows)


def _row(steps: int, errors: ClipErrors, finest: ClipErrors, seconds: float) -> StepsRow:
    own, best, episodes = errors.model[:, 0], finest.model[:, 0], errors.episodes
    return StepsRow(
        steps=steps,
        error=bootstrap.means(own, episodes),
        to_finest=bootstrap.ratios(own, best, episodes),
        overall=bootstrap.ratio(own.sum(1), best.sum(1), episodes),
        spread=tuple(np.sqrt(np.square(errors.spread[:, 0]).mean(0)).tolist()),
        seconds_per_frame=seconds,
    )
