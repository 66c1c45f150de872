"""One episode in memory, checked before it may be written: nothing that is not a number, no row without its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.data.errors import EpisodeError

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Episode:
    """T rows at a constant rate: pictures (T, H, W, 3) by camera, columns (T, n) by name, and when each row was true.

    `stamps` (T,) s are the real times of the rows. `ages` (T,) s say by how much a camera or column is older than its row's stamp, and
    `valid` (T,) whether it was there at all; both default to fresh and there.
    """

    task: str
    stamps: NDArray[np.float64]
    images: Mapping[str, Frames]
    columns: Mapping[str, NDArray[np.floating]]
    ages: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    valid: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stamps)

    def check(self) -> None:
        """Raise an EpisodeError on what must not reach a disk."""
        rows = len(self.stamps)
        if rows == 0:
            raise EpisodeError("the episode is empty", allowed="at least one row")
        if not np.isfinite(self.stamps).all() or np.any(np.diff(self.stamps) <= 0.0):
            raise EpisodeError(
                "the stamps do not grow", got=_first(np.diff(self.stamps) <= 0.0), allowed="finite, each later than the last"
            )
        self._check_pictures()
        self._check_columns()
        self._check_marks("ages", self.ages)
        self._check_marks("valid", self.valid)

    def _check_pictures(self) -> None:
        rows = len(self)
        for name, picture in self.images.items():
            if picture.dtype != np.uint8 or picture.ndim != 4 or picture.shape[-1] != 3 or picture.shape[0] != rows:
                raise EpisodeError(
                    f"pictures of {name} do not fit", got=f"{picture.dtype} {picture.shape}", allowed=f"uint8 ({rows}, H, W, 3)"
                )

    def _check_columns(self) -> None:
        rows = len(self)
        for name, column in self.columns.items():
            if column.ndim != 2 or column.shape[0] != rows:
                raise EpisodeError(f"column {name} does not fit", got=column.shape, allowed=f"({rows}, n)")
            if not np.isfinite(column).all():
                raise EpisodeError(f"column {name} holds what is not a number", got=_first(~np.isfinite(column).all(axis=1)))

    def _check_marks(self, what: str, marks: Mapping[str, NDArray[Any]]) -> None:
        for name, values in marks.items():
            if values.shape != self.stamps.shape or not np.isfinite(values).all():
                raise EpisodeError(f"{what} of {name} do not fit", got=values.shape, allowed=f"{self.stamps.shape}, finite")


def _first(wrong: NDArray[np.bool_]) -> str:
    where = np.flatnonzero(wrong)
    return f"row {where[0]}" if len(where) else "a stamp that is not finite"
