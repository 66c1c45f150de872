"""One plan of a running controller: made from the newest frame, to begin at a time that is still to come.

seen          planned                start                    (s)
----|------------|---------------------|------------------------>
    |  committed: what was and will be |  the plan
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.planning.bounds import ToolState
from wm_core.planning.history import History, Reading
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.plan import Plan
from wm_core.planning.retreat import Place, nearest
from wm_core.planning.schedule import Schedule
from wm_core.planning.scores import Evaluator, Pass
from wm_core.planning.search import Clock, Problem, Search
from wm_core.planning.sight import View
from wm_core.planning.track import Track
from wm_core.robot import rotation
from wm_core.robot.proprioception import action_row
from wm_core.robot.rotation import Array


class SeeingEvaluator(Evaluator, Protocol):
    """A world model that is shown the newest frames before it is asked."""

    def see(self, seen: Seen) -> None:
        """Begin from these frames, and from what the actions under way will lead to."""


class ImaginingEvaluator(SeeingEvaluator, Protocol):
    """One that also shows what it imagines."""

    def imagine(self, actions: Array, fidelity: Pass) -> Tensor:
        """Raw latents (seeds, N, H, P, D) of candidates (N, H, 7)."""


@dataclass(frozen=True)
class Beginning:
    """Where a plan begins: its time (s), the tool there, the frames that it is planned from, and the action (7,) under way."""

    time: float
    tool: ToolState
    seen: Seen
    before: Array


@dataclass(frozen=True)
class Draft:
    """A plan with its place in time; what it was made from: the stamp of the newest frame (s) and where it begins."""

    plan: Plan
    track: Track
    begins: Beginning


@dataclass(frozen=True)
class Target:
    """The latent distance to the goal that counts as one, and the nearest place to it that was seen."""

    unit: float
    place: Place | None = None


@dataclass(frozen=True)
class Limit:
    """Until when a search may go on, on which clock (s), and what its careful look takes (s) as far as is known."""

    clock: Clock
    deadline: float
    careful: float | None = None


@dataclass(frozen=True)
class Drafter:
    """Makes plans from up to `frames` frames, for steps of control of which `chunk` are one step of the model."""

    search: Search
    frames: int
    chunk: int

    @property
    def step(self) -> float:
        """Of the model, s."""
        return self.search.bounds.seconds

    @property
    def length(self) -> float:
        """Of a plan, s."""
        return self.search.config.horizon * self.step

    @property
    def longest(self) -> tuple[float, float]:
        """Translation (m) and rotation (rad) of the longest step of the model."""
        limits = self.search.bounds.limits
        return limits.linear_speed * self.step, limits.angular_speed * self.step

    def beginning(self, view: View, schedule: Schedule, start: float) -> Beginning:
        """Where the arm will be at `start`, if it goes on as it was told."""
        newest, told = view.history.newest, view.history.last_reading
        if told is None or view.joints is None:
            raise PlanningError("nobody says where the arm was told to be", mend="is the safety guard running?")
        ahead = schedule.between(told.stamp, start, told.gripper)
        tool = self._moved(told, view.joints, ahead, start - told.stamp)
        seen = view.history.seen(self.frames, self.step, self._committed(view.history, told, schedule, newest, start))
        return Beginning(start, tool, seen, schedule.between(start - self.step, start, told.gripper))

    def draft(
        self, begins: Beginning, evaluator: Evaluator, schedule: Schedule, target: Target, generator: np.random.Generator, limit: Limit
    ) -> Draft:
        """A plan from there; the evaluator has seen the frames already."""
        track = schedule.followed(begins.time)
        guess = None if track is None else track.rest(begins.time)
        problem = Problem(begins.tool, begins.before, target.unit, guess, target.place)
        plan = self.search.run(problem, evaluator, generator, limit.clock, limit.deadline, limit.careful)
        return Draft(plan, Track(plan.actions, begins.time, self.step, self.chunk), begins)

    def nearest(self, place: Place | None, view: View, distance: float) -> Place | None:
        """The nearest place to the goal that was seen, after the newest frame, which is so far from the goal."""
        return place if view.tool is None else nearest(place, view.tool, distance, self.search.retreat.apart, view.history.last_frame)

    def rests(self, place: Place | None, view: View) -> bool:
        """Whether the newest frame was taken at that place."""
        return place is not None and view.tool is not None and place.shows(view.tool, self.search.retreat.apart)

    def still(self, begins: Beginning) -> Array:
        """The plan (1, H, 7) of doing nothing."""
        actions = np.zeros((1, self.search.config.horizon, 7))
        actions[..., 6] = begins.tool.gripper
        return actions

    def _moved(self, told: Reading, joints: Array, ahead: Array, seconds: float) -> ToolState:
        turned = rotation.matrix(ahead[3:6]) @ told.pose[:3, :3]
        if self.search.bounds.joints is not None:
            _, moved = self.search.bounds.joints.shares(joints[None], ahead[None, :6], max(self.step, seconds))
            joints = moved[0]
        return ToolState(told.pose[:3, 3] + ahead[:3], turned, float(ahead[6]), joints)

    def _committed(self, history: History, told: Reading, schedule: Schedule, newest: float, start: float) -> Array:
        """What leads from the newest frame to the start: (C, 7), in equal parts that are at most a step of the model long."""
        count = max(0, math.ceil((start - newest) / self.step - 1e-6))
        times = np.linspace(newest, start, count + 1)
        readings = [self._at(history, told, schedule, time) for time in times]
        parts = [action_row(before.pose, after.pose, after.gripper) for before, after in pairwise(readings)]
        return np.array(parts).reshape(-1, 7)

    def _at(self, history: History, told: Reading, schedule: Schedule, time: float) -> Reading:
        """Where the tool was told to be, and from the newest word on, where the schedule leads."""
        known = history.reading_at(time)
        if known is not None:
            return known
        ahead = schedule.between(told.stamp, max(time, told.stamp), told.gripper)
        pose = rotation.pose(told.pose[:3, 3] + ahead[:3], rotation.matrix(ahead[3:6]) @ told.pose[:3, :3])
        return Reading(time, pose, float(ahead[6]))
