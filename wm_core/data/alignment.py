"""Rows on a steady clock out of streams that come when they like; never from the future, and never old without being called so."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError

Times = NDArray[np.float64]
Indices = NDArray[np.int64]
TOGETHER = 0.25  # share of a camera's period: frames that others take this much later belong to its frame
EARLY = 0.25  # share of a row: a frame that comes this much after its row is due still is that row's


def ticks(first: float, last: float, fps: float) -> Times:
    """When rows are due (s): from `first` on, none after `last`. Row k is due k / fps later, so that no error adds up."""
    if not last >= first:
        raise EpisodeError("the streams have no time in common", got=f"{last - first:.3f} s", allowed="at least one row")
    return first + np.arange(int((last - first) * fps + 1e-6) + 1) / fps


def newest(stamps: Times, rows: Times) -> Indices:
    """For each row the newest of `stamps`, which grow, that is not later; -1 where there is none yet."""
    return np.searchsorted(stamps, rows, side="right") - 1


def frame_rows(stamps: Times, due: Times, fps: float, others: Sequence[Times] = (), patience: float = 0.0) -> tuple[Indices, Times]:
    """For each row the frame it shows, and when the row is true (s): when a frame was taken that no row before shows, else when it is due.

    All other streams are read at that time, so that a row's picture and state are of one moment. What `others` took within `patience` (s,
    at most TOGETHER / fps) after the frame is waited for: cameras that are triggered together have stamps that differ by a little, either
    way.
    """
    chosen = newest(stamps, due + EARLY / fps)
    if chosen[0] < 0:
        raise EpisodeError("the first row has no frame", allowed="a clock that begins when every camera has one")
    fresh = np.diff(chosen, prepend=-1) > 0
    return chosen, np.where(fresh, _complete(stamps, others, patience)[chosen], due)


def _complete(stamps: Times, others: Sequence[Times], patience: float) -> Times:
    """When each frame and those that belong to it were taken (s), always before the next frame."""
    until = np.minimum(stamps + patience, np.append(np.nextafter(stamps[1:], -np.inf), np.inf))
    within = [np.append(other, -np.inf)[newest(other, until)] for other in others]
    return np.max([stamps, *within], axis=0)


def ages(stamps: Times, chosen: Indices, rows: Times) -> Times:
    """How old what a row shows is (s); infinite where it shows nothing."""
    return np.where(chosen >= 0, rows - stamps[np.maximum(chosen, 0)], np.inf) if len(stamps) else np.full(len(rows), np.inf)


def growing(stamps: Times) -> Indices:
    """Which to keep so that the stamps grow and the most are kept: the longest growing subsequence, as indices."""
    ends: list[float] = []  # the smallest stamp that a growing run of each length ends with
    places: list[int] = []
    before = np.full(len(stamps), -1, dtype=np.int64)
    for index, stamp in enumerate(stamps):
        length = bisect_left(ends, stamp)
        before[index] = places[length - 1] if length else -1
        ends[length : length + 1] = [float(stamp)]
        places[length : length + 1] = [index]
    kept, at = [], places[-1] if places else -1
    while at >= 0:
        kept.append(at)
        at = int(before[at])
    return np.array(kept[::-1], dtype=np.int64)


def together(stamps: Times, longest: float) -> Indices:
    """The largest part of growing stamps without a gap of more than `longest` (s) in it, as indices."""
    parts = np.split(np.arange(len(stamps)), np.flatnonzero(np.diff(stamps) > longest) + 1)
    return max(parts, key=len)
