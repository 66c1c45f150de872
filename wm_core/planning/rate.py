"""What a machine can hold: how long a plan takes, measured or assumed, and how far ahead of its making it therefore begins."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wm_core.planning.controller import MARGIN
from wm_core.planning.controller_config import PaceConfig
from wm_core.planning.draft import Drafter
from wm_core.planning.rehearsal import TIMES


@dataclass(frozen=True)
class Rate:
    """A plan takes `lead` (s), the longest of `plans`; without any it is assumed.

    `size` of the search for people, `period` (s) of control, `length` (s) of a plan.
    """

    lead: float
    plans: int
    size: str
    period: float
    length: float

    @staticmethod
    def assumed(drafter: Drafter, pace: PaceConfig) -> Rate:
        """Before any plan: the deadline, or as long as a plan is."""
        search = drafter.search.config
        size = f"{search.samples} x {search.horizon} x {search.iterations}"
        return Rate(pace.deadline or drafter.length, 0, size, 1.0 / pace.rate, drafter.length)

    def measured(self, seconds: float) -> Rate:
        """By a rehearsal, whose longest plan took so long."""
        return replace(self, lead=seconds, plans=TIMES)

    def after(self, seconds: float) -> Rate:
        """One more plan was made: the first few tell."""
        if self.plans >= TIMES:
            return self
        return replace(self, lead=max(self.lead, seconds) if self.plans else seconds, plans=self.plans + 1)

    @property
    def ahead(self) -> float:
        """How far ahead plans begin, in whole periods of control (s)."""
        return math.ceil(MARGIN * self.lead / self.period - 1e-6) * self.period

    @property
    def slow(self) -> bool:
        """Whether the arm has to rest between plans."""
        return self.ahead >= self.length

    @property
    def number(self) -> str:
        """What was measured (s), for a diagnosis."""
        return f"{self.lead:.3f}" if self.plans else "nothing yet"

    @property
    def text(self) -> str:
        """For people."""
        how = "takes" if self.plans else "is not measured yet, assumed:"
        rest = f", and are {self.length:.1f} s long: the arm rests between them" if self.slow else ""
        return f"a plan of {self.size} {how} {self.lead:.2f} s: plans start {self.ahead:.1f} s ahead{rest}"
