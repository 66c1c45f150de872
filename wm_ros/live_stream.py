"""What is known of one stream while it comes, and why it could not be recorded now; pure, the time is passed in."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from wm_core.data.errors import EpisodeError
from wm_core.data.image_head import IMAGE, image_head
from wm_core.data.recording_config import CAMERA, TYPES, StreamConfig
from wm_ros.diagnostics import Stream

LOST = 1.5  # periods between two stamps, from which on messages are missing between them
SLOW = 0.5  # share of the expected rate below which a stream is as good as missing
WINDOW = 2.0  # s over which rates and stamps are judged
AGAIN = 1.0  # s between two looks for who publishes a silent stream


@dataclass
class LiveStream:
    """One stream. Times are in s: `now` of a steady clock, `received` and stamps of the clock that messages are stamped by.

    `difference` is how far stamps may be from that clock: the least one within WINDOW counts, since what is late on its way says nothing.
    """

    config: StreamConfig
    topic: str
    difference: float = float("inf")
    kind: str = ""
    wrong: str = ""  # a type that is none of those allowed
    reliable: bool = False
    arrivals: Stream = field(default_factory=lambda: Stream(WINDOW))
    drops: int = 0
    backwards: int = 0
    latest: bytes = b""
    _stamp: float = 0.0
    _newest: float = -float("inf")
    _back: bool = False
    _later: Stream = field(default_factory=lambda: Stream(WINDOW))  # arrivals whose stamps are later than those before
    _differences: deque[tuple[float, float]] = field(default_factory=deque)  # when, and by how much
    _look: str = ""
    _first: str = ""  # what the pictures looked like when the episode began
    _other: str = ""  # what else they looked like since
    _changed: float = -float("inf")
    _asked: float = -float("inf")

    @property
    def patience(self) -> float:
        """How long it may be silent, s."""
        return max(self.config.age, 2.0 / self.config.rate if self.config.rate else 0.0)

    def follow(self, publishers: Sequence[tuple[str, bool]]) -> bool:
        """Note the type of those who publish, and whether each is reliable; True where what listens to them has to be made anew."""
        kind, reliable = publishers[0][0], all(sure for _, sure in publishers)
        if (kind, reliable) == (self.wrong or self.kind, self.reliable):
            return False
        allowed = kind in TYPES[self.config.kind]
        self.kind, self.wrong, self.reliable = (kind, "", reliable) if allowed else ("", kind, reliable)
        return True

    def ask_again(self, now: float) -> bool:
        """Whether to look who publishes it: it is silent for longer than it may be, and AGAIN has passed since it was asked."""
        if self.arrivals.age(now) <= self.patience or now - self._asked < AGAIN:
            return False
        self._asked = now
        return True

    def begin(self) -> None:
        """Count anew: what the pictures look like now is what they are to look like."""
        self.drops = self.backwards = 0
        self._stamp, self._first, self._other = 0.0, self._look, ""

    def hear(self, now: float, received: float, data: bytes) -> float:
        """A message's bytes; returns its stamp, or when it was received where it has none."""
        stamp = stamp_of(data) or received
        self.arrivals.arrived(now)
        self.latest = data
        self._count(stamp)
        self._advance(now, stamp)
        self._differences.append((now, received - stamp))
        while now - self._differences[0][0] > WINDOW:
            self._differences.popleft()
        if self.config.kind == CAMERA:
            self._see(now, look_of(self.kind, data))
        return stamp

    def complaint(self, now: float, recording: bool = False) -> str:
        """Why the stream cannot be recorded; empty: it can. While `recording`, what its pictures looked like at the beginning holds."""
        if self.wrong:
            return f"{self.topic} is a {self.wrong}, not a {' or '.join(TYPES[self.config.kind])}"
        return self._absent(now) or self._stuck(now) or self._of_another_clock(now) or self._changing(now, recording)

    def _count(self, stamp: float) -> None:
        if self._stamp and self.config.rate:
            gap = (stamp - self._stamp) * self.config.rate
            self.drops += round(gap) - 1 if gap > LOST else 0
            self.backwards += gap <= 0.0
        self._stamp = stamp

    def _advance(self, now: float, stamp: float) -> None:
        """Several may publish one topic in turn, with stamps that differ a little: it goes on as long as the newest of them grows."""
        if stamp > self._newest:
            self._newest = stamp
            self._later.arrived(now)
            return
        self._back = stamp < self._newest
        if self._later.age(now) > WINDOW:
            self._newest = stamp  # a clock that was set back: from here on it may grow again

    def _see(self, now: float, look: str) -> None:
        if self._look and look != self._look:
            self._changed = now
        self._look = look
        self._first = self._first or look
        self._other = look if look != self._first else self._other

    def _absent(self, now: float) -> str:
        expected, age, rate = self.config.rate, self.arrivals.age(now), self.arrivals.rate(now)
        if not expected:
            return ""
        if age == float("inf"):
            return f"{self.topic} is silent{'' if self.kind else ' (nobody publishes it)'}"
        if age > self.patience:
            return f"{self.topic} has been silent for {age:.2f} s"
        return f"{self.topic} comes at {rate:.1f} Hz, not {expected:g}" if rate < SLOW * expected else ""

    def _stuck(self, now: float) -> str:
        expected = self.config.rate
        if not expected or (self._later.age(now) <= self.patience and self._later.rate(now) >= SLOW * expected):
            return ""
        return f"{self.topic} comes with stamps that {'go back' if self._back else 'stand still'}: mend its publisher"

    def _of_another_clock(self, now: float) -> str:
        recent = [difference for when, difference in self._differences if now - when <= WINDOW]
        least = min(recent, key=abs, default=0.0)
        if abs(least) <= self.difference:
            return ""
        side, mend = "behind" if least > 0.0 else "ahead of", "let the machines keep one time, or set use_sim_time with a simulated clock"
        return f"{self.topic} has stamps {abs(least):.1f} s {side} the clock, allowed: {self.difference:g} s (clock_difference): {mend}"

    def _changing(self, now: float, recording: bool) -> str:
        if recording:
            return f"{self.topic} shows pictures of {self._other}, where it began with {self._first}" if self._other else ""
        return f"{self.topic} changes its pictures: {self._look} now" if now - self._changed <= WINDOW else ""


def stamp_of(data: bytes) -> float:
    """The stamp (s) in a message's CDR bytes: behind the four that tell the byte order, every message begins with its header."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] else ">iI", data, 4)
    return float(seconds + 1e-9 * nanoseconds)


def look_of(kind: str, data: bytes) -> str:
    """Size and encoding of a camera's picture in words; compressed ones are not opened for it."""
    if kind != IMAGE:
        return "compressed pictures"
    try:
        head = image_head(data)
    except EpisodeError:
        return "bytes that are no picture"
    return f"{head.width}x{head.height} {head.encoding}"
