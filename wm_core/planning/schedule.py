"""Plans in a row, each taking over from the one before at its start; control and planning read the same schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from wm_core.planning.bounds import shortened
from wm_core.planning.track import STILL, Track
from wm_core.robot.rotation import Array

KEPT = 4  # tracks: a plan starts at most a few plans after it was begun


@dataclass(frozen=True)
class Ticks:
    """The times (s) at which steps of control begin."""

    origin: float
    period: float

    def nearest(self, now: float) -> float:
        """The tick that a timer which fired at `now` meant."""
        return self.origin + round((now - self.origin) / self.period) * self.period

    def after(self, moment: float) -> float:
        """The first tick that is not before a moment."""
        return self.origin + math.ceil((moment - self.origin) / self.period - 1e-6) * self.period


@dataclass(frozen=True)
class Schedule:
    """Tracks by their starts; from the start of each on, those before it do not count."""

    tracks: tuple[Track, ...] = ()

    @property
    def newest(self) -> Track | None:
        return self.tracks[-1] if self.tracks else None

    def extended(self, track: Track) -> Schedule:
        """With one more plan, in place of what was scheduled from its start on."""
        earlier = tuple(one for one in self.tracks if one.start < track.start)
        return replace(self, tracks=(*earlier, track)[-KEPT:])

    def followed(self, now: float) -> Track | None:
        """The track that counts at `now`."""
        begun = [track for track in self.tracks if track.start <= now + 1e-6]
        return begun[-1] if begun else None

    def control(self, now: float) -> Array | None:
        """The step of control (7,) due at `now`; None where no plan has one."""
        track = self.followed(now)
        return None if track is None else track.control(now)

    def between(self, begin: float, end: float, opening: float) -> Array:
        """What is done between two times (7,): the motion, and the opening at the end, `opening` where no plan says one."""
        motion = np.array([*STILL[:6], opening])
        for index, track in enumerate(self.tracks):
            over = self.tracks[index + 1].start if index + 1 < len(self.tracks) else math.inf
            first, last = max(begin, track.start), min(end, over)
            if first < last:
                done = track.between(first, last)
                motion[:6] += done[:6]
                motion[6] = done[6]
        return motion

    def caught_up(self, track: Track, due: float, longest: tuple[float, float]) -> Track:
        """A track that comes late, as it goes on from `due`: what it would have done until then, less what was done, is added at once.

        `longest` is the longest translation (m) and rotation (rad) of a step of the model, which catching up keeps to.
        """
        actions = track.rest(due)
        owed = track.between(track.start, due)[:6] - self.between(track.start, due, 0.0)[:6]
        for part, most in zip((slice(0, 3), slice(3, 6)), longest, strict=True):
            actions[0, part] = shortened((actions[0, part] + owed[part])[None], most)[0]
        return replace(track, actions=actions, start=due)
