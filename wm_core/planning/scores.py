"""The one way from the search to a world model: candidates in, distances of their imagined ends to the goal out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from wm_core.configuration import setting
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array

Pass = Literal["search", "review"]


@dataclass(frozen=True)
class Fidelity:
    """How carefully candidates are imagined."""

    grid: int = setting("Which of the model's token grids, 0 the encoder's own", low=0, high=16)
    steps: int = setting("Sampling steps K of a frame, a power of two", low=1, high=64)
    seeds: int = setting("Draws of the future for each candidate", low=1, high=64)


class Scores(NamedTuple):
    """Of N candidates: mean distance to the goal over noise seeds, and its standard deviation (0 for a single seed)."""

    goal: Array
    uncertainty: Array


class Evaluator(Protocol):
    """A world model in this process, or servers of one."""

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        """Scores of candidates (N, H, 7), all from the same context, the same goal and the same noise."""

    def correct(self, witness: Witness) -> None:
        """Take off all that is imagined from here what the witness shows it to be wrong by, until new frames are seen."""

    def distance(self) -> float:
        """Of the newest frame to the goal, in the units of the scores."""
