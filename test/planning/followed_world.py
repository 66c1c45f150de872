"""A tool that does exactly what it is told, a camera that shows where it is, and a clock that goes on only when it is asked to."""

from __future__ import annotations

import numpy as np
import torch
from pose_problem import GOAL, SECONDS, START, search

from wm_core.planning.controller import Controller, Mission, Step
from wm_core.planning.controller_config import PaceConfig
from wm_core.planning.draft import Drafter
from wm_core.planning.history import Reading
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.pursuit import PursuitConfig
from wm_core.planning.schedule import Ticks
from wm_core.planning.scores import Pass, Scores
from wm_core.planning.sight import Sight, SightConfig, Source
from wm_core.planning.witness import Witness
from wm_core.robot import rotation
from wm_core.robot.rotation import Array

TICK, FINE, CAMERA = 0.1, 0.02, 0.1  # s
PACE = PaceConfig(rate=1.0 / TICK, validity=2.0, replan=0.0, deadline=0.0, stall=5.0)
TRUST = SightConfig(frame_age=0.4, lost=0.8, joint_age=0.3, frozen=0.02)
PURSUIT = PursuitConfig(tolerance=1e-2, hysteresis=2.0, settle=2, progress=0.01, patience=4.0, timeout=20.0, near=1e-4)
SOURCE = Source("front", "pose", "hash", (1, 1))


class World:
    """Time (s), the tool's position, and what was sent; frames are the position itself, and arrive `lag` after they were taken."""

    def __init__(self, lag: float = 0.04, plan_seconds: float = 0.3) -> None:
        self.fine, self.position, self.motion = 5000, START.position.copy(), np.zeros(3)
        self.lag, self.plan_seconds = lag, plan_seconds
        self.sent: list[tuple[float, Step]] = []
        self.path: dict[int, Array] = {}
        self.camera_on, self.camera_moves, self.guard_fault, self.source = True, True, "", SOURCE
        self._left, self._coming = 0, list[tuple[int, float, torch.Tensor]]()
        self.sight = Sight(5.0)
        drafter = Drafter(search(smallest=0.005, iterations=5), 3, round(SECONDS / TICK))
        self.controller = Controller(drafter, self.sight, Ticks(self.now(), TICK), self.now, PACE, TRUST, plan_seconds)
        self.advance(1.0)

    def now(self) -> float:
        return self.fine * FINE

    def advance(self, seconds: float) -> None:
        """Let time go on; control ticks when it is due, whoever waits for a plan meanwhile."""
        for _ in range(round(seconds / FINE)):
            self.fine += 1
            if self._left:
                self._left -= 1
                self.position = self.position + self.motion * FINE / TICK
            self.path[self.fine] = self.position
            self._feel()
            if self.fine % round(TICK / FINE) == 0:
                step = self.controller.tick(self.now(), self.guard_fault)
                if step is not None:
                    self.sent.append((self.now(), step))
                    self.motion, self._left = step.motion[:3], round(TICK / FINE)

    def at(self, time: float) -> Array:
        """Where the tool was."""
        return self.path[round(time / FINE)]

    def mission(self, goal: Array = GOAL.position, pursuit: PursuitConfig = PURSUIT, name: str = "goal") -> Mission:
        return Mission(name, SeeingPose(self, goal), pursuit)

    def begin(self, mission: Mission) -> None:
        self.controller.begin(self.controller.first(mission))

    def run(self, seconds: float) -> None:
        """Plan and act until the goal has ended, or for so long."""
        until = self.now() + seconds
        while self.controller.running and self.now() < until:
            if self.controller.improve() is None:
                self.advance(FINE)

    def _feel(self) -> None:
        pose = rotation.pose(self.position, START.rotation)
        self.sight.feel(Reading(self.now(), pose, 1.0), np.zeros(6))
        self.sight.measure(Reading(self.now(), pose, 1.0))
        if self.camera_on and self.fine % round(CAMERA / FINE) == 0:
            shown = self.position if self.camera_moves else START.position
            self._coming.append((self.fine + round(self.lag / FINE), self.now(), torch.from_numpy(shown.copy())[None]))
        while self._coming and self._coming[0][0] <= self.fine:
            _, stamp, latents = self._coming.pop(0)
            self.sight.see(stamp, latents, self.source, self.now())


class SeeingPose:
    """A model whose latent is the tool's position, imagined wrong by `off` (3,) m. Plans take the world's time.

    Scores are mean squared distances to the goal, all of one spread.
    """

    def __init__(self, world: World, goal: Array) -> None:
        self.world, self.goal = world, goal
        self.asked: list[Array] = []
        self.starts: list[tuple[Array, float]] = []
        self.fault: Exception | None = None
        self.spread = 0.0
        self.off, self._known = np.zeros(3), np.zeros((1, 3))
        self._thinks = False

    def see(self, seen: Seen) -> None:
        self.newest = seen.latents[-1, 0].numpy()
        self.start = self.newest + seen.committed[:, :3].double().numpy().sum(axis=0)
        self._thinks, self._known = True, np.zeros((1, 3))

    def correct(self, witness: Witness) -> None:
        self._known = witness.wrong(torch.from_numpy(self._imagined(witness.way))[:, None])[:, 0].numpy()

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        self._fail()
        if self._thinks:
            self._thinks = False
            self.asked.append(actions)
            self.world.advance(self.world.plan_seconds)
        way = self._imagined(actions) - self._known
        return Scores(np.square(way - self.goal).sum(axis=2).mean(axis=1), np.full(len(actions), self.spread))

    def distance(self) -> float:
        self._fail()
        return float(np.square(self.newest - self.goal).sum())

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _imagined(self, actions: Array) -> Array:
        """Positions (..., H, 3) after each step of actions (..., H, 7)."""
        return self.start + actions[..., :3].cumsum(axis=-2) + self.off
