"""Episodes that had to be left out: each is told once, however often and by whichever reader it is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Skip:
    """An episode of the dataset in the folder `dataset` that could not be used, and why."""

    dataset: str
    episode: int
    reason: str

    def text(self) -> str:
        return f"{self.dataset} {self.episode}: {self.reason}"


class Skips:
    """The first skip of every episode; `say` gets a line when it is met."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._met = say, dict[tuple[str, int], Skip]()

    def add(self, skip: Skip) -> None:
        if (skip.dataset, skip.episode) not in self._met:
            self.note(skip)
            self._say(f"skipped {skip.text()}")

    def note(self, skip: Skip) -> None:
        """Count a skip that another process tells."""
        self._met.setdefault((skip.dataset, skip.episode), skip)

    def lines(self) -> tuple[str, ...]:
        """A line for each episode, in the order in which they were met."""
        return tuple(skip.text() for skip in self._met.values())
