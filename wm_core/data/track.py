"""What one stream of a recording said, message by message, as far as it can be used."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wm_core.data import alignment

LONGEST_GAP = 60.0  # s: what is further away than this from the rest of its stream has the stamp of another clock


@dataclass
class Track:
    """Stamps (n,), a row of numbers for each message, and the number of that message within its topic."""

    stamps: list[float] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    heard: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    encoding: str = ""

    def take(self, stamp: float, value: NDArray[np.float64]) -> None:
        """A message as it came; `ordered` sees to the time."""
        if not np.isfinite(stamp) or not np.isfinite(value).all():
            self.refuse("a number that is not finite")
        else:
            self.stamps.append(stamp)
            self.values.append(value)
            self.numbers.append(self.heard - 1)

    def refuse(self, why: str, count: int = 1) -> None:
        if count:
            self.refused[why] = self.refused.get(why, 0) + count

    def ordered(self) -> None:
        """Keep the most messages whose stamps grow, and of these those of one clock: one wrong stamp costs its own message alone."""
        self.keep(alignment.growing(self.times), "a stamp that is not later than the one before")
        self.keep(alignment.together(self.times, LONGEST_GAP), f"a stamp that is more than {LONGEST_GAP:g} s away from the others")

    def keep(self, kept: alignment.Indices, why: str) -> None:
        """Only the messages of these indices; the others are refused for that reason."""
        self.refuse(why, len(self.stamps) - len(kept))
        self.stamps = [self.stamps[index] for index in kept]
        self.values = [self.values[index] for index in kept]
        self.numbers = [self.numbers[index] for index in kept]

    @property
    def times(self) -> alignment.Times:
        return np.array(self.stamps, dtype=np.float64)
