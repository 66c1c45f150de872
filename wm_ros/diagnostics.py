"""Rates, ages and overruns of streams and loops; pure, the time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Stream:
    """Arrivals of one stream within the last `window` seconds."""

    window: float = 2.0
    count: int = 0
    _arrivals: deque[float] = field(default_factory=deque)

    def arrived(self, now: float) -> None:
        """Count one arrival at `now`, seconds."""
        self.count += 1
        self._arrivals.append(now)
        while now - self._arrivals[0] > self.window:
            self._arrivals.popleft()

    def age(self, now: float) -> float:
        """Seconds since the newest arrival; infinite before the first."""
        return now - self._arrivals[-1] if self._arrivals else float("inf")

    def rate(self, now: float) -> float:
        """Arrivals per second over the window that ends now."""
        recent = [stamp for stamp in self._arrivals if now - stamp <= self.window]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(now - recent[0], recent[-1] - recent[0], 1e-9)


@dataclass
class Loop:
    """Punctuality of a periodic loop: a tick that starts more than half a period late is an overrun."""

    period: float
    overruns: int = 0
    longest: float = 0.0
    _last: float | None = None

    def tick(self, now: float) -> bool:
        """Note a tick at `now`, seconds; True when it came late."""
        gap = self.period if self._last is None else now - self._last
        self._last = now
        self.longest = max(self.longest, gap)
        late = gap > 1.5 * self.period
        self.overruns += late
        return late
