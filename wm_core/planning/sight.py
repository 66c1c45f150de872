"""What the planner knows of the world: frames, where the arm was told to be and where it is; filled by one thread, read by another."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wm_core.configuration import setting
from wm_core.planning.history import History, Reading
from wm_core.robot.rotation import Array

AHEAD = 0.1  # s; a frame's stamp may be ahead of the clock by so much: two machines' clocks never agree quite


@dataclass(frozen=True)
class SightConfig:
    """When what is seen and felt is not to be trusted any more."""

    frame_age: float = setting(
        "Oldest newest frame that may be planned from or acted on: with an older one the arm rests until another comes",
        unit="s",
        low=0.05,
        high=60.0,
        live=True,
    )
    lost: float = setting("Age of the newest frame with which a goal is refused, or given up", unit="s", low=0.05, high=60.0, live=True)
    joint_age: float = setting(
        "The same for joint states and for where the guard told the arm to be", unit="s", low=0.02, high=10.0, live=True
    )
    frozen: float = setting(
        "Way of the tool during which frames that stay the same, number by number, mean that the camera hangs",
        unit="m",
        low=0.001,
        high=1.0,
        live=True,
    )


@dataclass(frozen=True)
class Source:
    """Where frames come from: the camera's frame of reference, and the encoder with the hash of its weights and its grid."""

    camera: str
    encoder: str
    encoder_hash: str
    grid: tuple[int, int]


@dataclass(frozen=True)
class View:
    """All that is known at one moment; nobody else changes it.

    joints (6,) rad are those the arm was told to be at, newest; tool (4, 4) is where it was measured to be when the newest frame was taken.
    """

    history: History
    source: Source | None
    joints: Array | None
    tool: Array | None


class Sight:
    """The newest `seconds` of everything, guarded by a lock; times are stamps and the clock that stamped them (s)."""

    _source: Source | None
    _joints: Array | None
    _last: Tensor | None
    _since: Reading | None

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self._forget()

    def see(self, stamp: float, latents: Tensor, source: Source, now: float) -> None:
        """A frame (P, D) as the encoder gives it, that arrived at `now`; frames of another source replace all that was known."""
        with self._lock:
            another = self._source is not None and source != self._source
            if another or stamp < self._history.newest - self._seconds:  # time began anew, as in a simulation that was started again
                self._forget()
            self._source, self._arrived = source, now
            if stamp <= self._history.newest:
                return
            self._advanced = now
            if self._last is None or not torch.equal(latents, self._last):
                self._last, self._changed, self._since = latents, stamp, self._measured.reading_at(stamp)
            self._history.see(stamp, latents)

    def feel(self, reading: Reading, joints: Array) -> None:
        """Where the arm was told to be: the tool's pose, and the joints (6,) rad."""
        with self._lock:
            self._history.feel(reading)
            self._joints, self._felt = joints, reading.stamp

    def measure(self, reading: Reading) -> None:
        """Where the tool is measured to be."""
        with self._lock:
            self._measured.feel(reading)
            self._measured_at = reading.stamp
            if self._since is None and reading.stamp >= self._changed:
                self._since = reading

    def view(self) -> View:
        """What is known now; a frame that came before the word of where the tool was then is held back until that comes."""
        with self._lock:
            told = self._history.last_reading
            history = self._history.copy() if told is None else self._history.until(told.stamp)
            measured = self._measured.reading_at(history.newest)
            return View(history, self._source, self._joints, None if measured is None else measured.pose)

    @property
    def source(self) -> Source | None:
        """Of the newest frame; None before the first."""
        with self._lock:
            return self._source

    def blind(self, config: SightConfig, now: float) -> bool:
        """Whether what was seen last is too old to act on, though not yet so old that the goal is lost."""
        with self._lock:
            return now - self._history.newest > config.frame_age

    @property
    def newest(self) -> float:
        """Stamp of the newest frame; minus infinity before the first."""
        with self._lock:
            return self._history.newest

    def fault(self, config: SightConfig, now: float) -> str:
        """Why nothing may be done on what is known; empty when all is well."""
        with self._lock:
            age = now - self._history.newest
            if self._source is None:
                return "no camera frame has come yet: is the encoder running, and the camera?"
            if age < -AHEAD:
                return f"the newest camera frame is from {-age:.1f} s ahead, allowed: {AHEAD:g} s: do the clocks of camera and arm agree?"
            if age > config.lost:
                if now - self._arrived <= config.lost and self._old_frames_came(config.lost):
                    return f"the camera hangs: frames keep coming, but the newest stamp is {age:.1f} s old, allowed: {config.lost:g} s"
                return f"the newest camera frame is {age:.1f} s old, allowed: {config.lost:g} s: is the encoder running, and the camera?"
            way = self._way_unseen()
            if way > config.frozen:
                return f"the camera hangs: its frames stay the same while the tool moved {1e3 * way:.0f} mm"
            for what, stamp, whose in (("word of the safety guard", self._felt, "guard"), ("joint state", self._measured_at, "arm")):
                if now - stamp > config.joint_age:
                    old = "there is none yet" if stamp == -np.inf else f"the newest is {now - stamp:.2f} s old"
                    return f"no fresh {what}: {old}, allowed: {config.joint_age:g} s: is the {whose} running?"
            return ""

    def _forget(self) -> None:
        self._history, self._measured = History(self._seconds), History(self._seconds)
        self._source = self._joints = self._last = self._since = None
        self._arrived = self._advanced = self._changed = self._felt = self._measured_at = -np.inf

    def _old_frames_came(self, allowed: float) -> bool:
        """Whether the last frame was old when it came: an encoder that dies leaves a fresh one behind."""
        return self._arrived > self._advanced or self._advanced - self._history.newest > allowed

    def _way_unseen(self) -> float:
        """How far the tool is from where it was when what is seen changed last, however long ago that was (m)."""
        newest = self._measured.reading_at(min(self._history.newest, self._measured_at))
        if self._since is None or newest is None:
            return 0.0
        return float(np.linalg.norm(newest.pose[:3, 3] - self._since.pose[:3, 3]))
