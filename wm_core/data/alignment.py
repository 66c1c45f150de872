"""Rows on a steady clock out of streams that come when they like; never from the future, and never old without being called so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError

Times = NDArray[np.float64]
Indices = NDArray[np.int64]
EARLY = 0.25  # share of a row: a frame that comes this much after its row is due still is that row's


def ticks(first: float, last: float, fps: float) -> Times:
    """When rows are due (s): from `first` on, none after `last`. Row k is due k / fps later, so that no error adds up."""
    if not last >= first:
        raise EpisodeError("the streams have no time in common", got=f"{last - first:.3f} s", allowed="at least one row")
    return first + np.arange(int((last - first) * fps + 1e-6) + 1) / fps


def newest(stamps: Times, rows: Times) -> Indices:
    """For each row the newest of `stamps`, which grow, that is not later; -1 where there is none yet."""
    return np.searchsorted(stamps, rows, side="right") - 1


def frame_rows(stamps: Times, due: Times, fps: float) -> tuple[Indices, Times]:
    """For each row the frame it shows, and when the row is true (s): when a frame was taken that no row before shows, else when it is due.

    All other streams are read at that time, so that a row's picture and state are of one moment.
    """
    chosen = newest(stamps, due + EARLY / fps)
    if chosen[0] < 0:
        raise EpisodeError("the first row has no frame", allowed="a clock that begins when every camera has one")
    fresh = np.diff(chosen, prepend=-1) > 0
    return chosen, np.where(fresh, stamps[chosen], due)


def ages(stamps: Times, chosen: Indices, rows: Times) -> Times:
    """How old what a row shows is (s); infinite where it shows nothing."""
    return np.where(chosen >= 0, rows - stamps[np.maximum(chosen, 0)], np.inf) if len(stamps) else np.full(len(rows), np.inf)


def in_order(stamps: Times) -> NDArray[np.bool_]:
    """Which of the stamps are later than all before them and finite: the others went back in time."""
    finite = np.where(np.isfinite(stamps), stamps, -np.inf)
    before = np.maximum.accumulate(np.concatenate([[-np.inf], finite[:-1]])) if len(stamps) else finite
    return finite > before
