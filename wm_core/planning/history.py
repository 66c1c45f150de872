"""What was seen and where the tool was, kept until it is too old, and read out one step of the model apart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.planning.model_evaluator import Seen
from wm_core.robot import rotation
from wm_core.robot.proprioception import action_row, state_row
from wm_core.robot.rotation import Array

OFF_TIME = 0.35  # share of a step by which a frame may miss its time and still stand for it


@dataclass(frozen=True)
class Reading:
    """The commanded pose (4, 4) of the tool in base_link at a time (s), and the opening 0 .. 1."""

    stamp: float
    pose: Array
    gripper: float


class History:
    """The newest `seconds` of frames and readings, in order of their stamps; whatever comes late or twice is left out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._frames: list[tuple[float, Tensor]] = []
        self._readings: list[Reading] = []

    def see(self, stamp: float, latents: Tensor) -> None:
        """A frame as the encoder gives it (P, D)."""
        if not self._frames or stamp > self._frames[-1][0]:
            self._frames.append((stamp, latents))
            del self._frames[: bisect_left(self._frames, stamp - self._seconds, key=lambda frame: frame[0])]

    def feel(self, reading: Reading) -> None:
        """Where the tool was told to be."""
        if not self._readings or reading.stamp > self._readings[-1].stamp:
            self._readings.append(reading)
            del self._readings[: bisect_left(self._readings, reading.stamp - self._seconds, key=lambda one: one.stamp)]

    def copy(self) -> History:
        """The same, from now on apart."""
        twin = History(self._seconds)
        twin._frames, twin._readings = list(self._frames), list(self._readings)
        return twin

    def until(self, stamp: float) -> History:
        """The same without the frames that are newer than `stamp` (s); readings tell more of an old frame than it knew itself."""
        earlier = self.copy()
        del earlier._frames[bisect_right(earlier._frames, stamp, key=lambda frame: frame[0]) :]
        return earlier

    def clear(self) -> None:
        """Forget everything, as when the arm was put elsewhere by hand."""
        self._frames, self._readings = [], []

    @property
    def newest(self) -> float:
        """Stamp of the newest frame; minus infinity before the first."""
        return self._frames[-1][0] if self._frames else -np.inf

    @property
    def last_frame(self) -> Tensor | None:
        """The newest (P, D); None before the first."""
        return self._frames[-1][1] if self._frames else None

    @property
    def last_reading(self) -> Reading | None:
        """The newest; None before the first."""
        return self._readings[-1] if self._readings else None

    def reading_at(self, stamp: float) -> Reading | None:
        """Where the tool was at a time, between the readings around it; None outside of them."""
        after = bisect_right(self._readings, stamp, key=lambda one: one.stamp)
        if after == 0:
            return None
        if after == len(self._readings):
            last = self._readings[-1]
            return last if last.stamp == stamp else None
        before, behind = self._readings[after - 1], self._readings[after]
        share = (stamp - before.stamp) / (behind.stamp - before.stamp)
        way = rotation.pose_error(behind.pose, before.pose) * share
        turned = rotation.matrix(way[3:]) @ before.pose[:3, :3]
        pose = rotation.pose(before.pose[:3, 3] + way[:3], turned)
        return Reading(stamp, pose, before.gripper + share * (behind.gripper - before.gripper))

    def seen(self, frames: int, step: float, committed: Array) -> Seen:
        """At most `frames` frames, `step` seconds apart and ending with the newest; `committed` (C, 7) is on its way.

        A frame that is missing ends the row: what was before it is left out. An action is unknown where a reading is missing at either end.
        """
        if not self._frames:
            raise PlanningError("no frame has been seen", got="none", allowed="at least one", mend="is the encoder running?")
        chosen = self._spaced(frames, step)
        found = [self.reading_at(stamp) for stamp, _ in chosen]
        actions, known = np.zeros((len(chosen) - 1, 7)), np.zeros(len(chosen) - 1, dtype=bool)
        for index, (before, after) in enumerate(pairwise(found)):
            if before is not None and after is not None:
                actions[index], known[index] = action_row(before.pose, after.pose, after.gripper), True
        told = [one for one in found if one is not None]
        readings = np.array([state_row(one.pose, one.gripper, ()) for one in told]) if len(told) == len(found) else None
        return Seen(
            torch.stack([latents for _, latents in chosen]),
            torch.from_numpy(actions).float(),
            torch.from_numpy(known),
            torch.from_numpy(np.asarray(committed, dtype=np.float64).reshape(-1, 7)).float(),
            None if readings is None else torch.from_numpy(readings).float(),
            chosen[-1][0],
        )

    def _spaced(self, frames: int, step: float) -> list[tuple[float, Tensor]]:
        stamps, newest = [stamp for stamp, _ in self._frames], self._frames[-1][0]
        chosen = [self._frames[-1]]
        while len(chosen) < frames:
            wanted = newest - len(chosen) * step
            near = bisect_left(stamps, wanted)
            around = [index for index in (near - 1, near) if 0 <= index < len(stamps)]
            best = min(around, key=lambda index: abs(stamps[index] - wanted))
            if abs(stamps[best] - wanted) > OFF_TIME * step or stamps[best] >= chosen[-1][0]:
                break
            chosen.append(self._frames[best])
        return chosen[::-1]
