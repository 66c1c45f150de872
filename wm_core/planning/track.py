"""The plan that is being carried out: which step of control is due, whatever the planner is doing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.planning.plan import controls, rest
from wm_core.robot.rotation import Array

STILL = np.zeros(7)


@dataclass(frozen=True)
class Track:
    """Actions (H, 7) of a plan that begins at `start` (s), each `seconds` long and carried out in `chunk` steps of control."""

    actions: Array
    start: float
    seconds: float
    chunk: int
    plan_id: str = ""

    @property
    def end(self) -> float:
        """When the last action is over (s)."""
        return self.start + len(self.actions) * self.seconds

    def index(self, now: float) -> int:
        """Number of the step of control that is due at `now`; before the start negative, after the end too large."""
        return int(np.floor((now - self.start) / (self.seconds / self.chunk) + 1e-6))

    def control(self, now: float) -> Array | None:
        """The step of control (7,) due at `now`; None where the plan has none."""
        index = self.index(now)
        return controls(self.actions, self.chunk)[index] if 0 <= index < len(self.actions) * self.chunk else None

    def between(self, begin: float, end: float) -> Array:
        """What the track does between two times (7,): the composed motion, and the opening at the end."""
        shares = np.clip((end - self.start) / self.seconds - np.arange(len(self.actions)), 0.0, 1.0)
        shares -= np.clip((begin - self.start) / self.seconds - np.arange(len(self.actions)), 0.0, 1.0)
        moved = self.actions[:, :6] * shares[:, None]
        opening = self.actions[min(max(self.index(end) // self.chunk, 0), len(self.actions) - 1), 6]
        # Within a step or two rotation vectors of a few hundredths of a radian add up as they compose.
        return np.concatenate([moved.sum(axis=0), [opening]])

    def rest(self, now: float) -> Array:
        """What is left of the actions at `now`, as a guess (H, 7) for the next plan."""
        return rest(self.actions, max(0.0, (now - self.start) / self.seconds))
