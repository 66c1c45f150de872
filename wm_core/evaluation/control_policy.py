"""Policies that are given a goal as a picture and act in the embedded arm, and those they are compared with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from wm_core.evaluation.control_task import Task
from wm_core.planning.bounds import ToolState
from wm_core.planning.goal import goal_of_picture
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.history import History, Reading
from wm_core.planning.model_evaluator import ModelEvaluator
from wm_core.planning.plan import rest
from wm_core.planning.retreat import Place, nearest
from wm_core.planning.scores import Evaluator, Fidelity, Pass, Scores
from wm_core.planning.search import Problem, Search
from wm_core.planning.witness import Witness
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation.camera import Picture
from wm_core.simulation.embedded_arm import EmbeddedArm, Snapshot
from wm_core.vision.encoder import Encoder
from wm_core.world_model.world_model import WorldModel

STILL = np.zeros(7)


@dataclass(frozen=True)
class Observation:
    """What a robot knows at a step of the model: time (s), camera frame, tool pose (4, 4) as commanded, opening, joints (6,) rad.

    measured (4, 4) is where the tool is, which follows the command a little later.
    """

    time: float
    frame: Picture
    tool: Array
    gripper: float
    joints: Array
    measured: Array


@dataclass(frozen=True)
class Decision:
    """The next action (7,) of the model's step, and how long it took to find, s."""

    action: Array
    seconds: float = 0.0


class Policy(Protocol):
    """One trial at a time: `begin` with a task, then an action for every observation."""

    def begin(self, task: Task, generator: np.random.Generator) -> None: ...

    def act(self, observation: Observation) -> Decision: ...


@dataclass(frozen=True)
class TrueWorld:
    """The arm that is acted in, the camera that sees it, and its steps of control per second."""

    arm: EmbeddedArm
    camera: str
    rate: float

    def picture(self) -> Picture:
        return self.arm.render(self.camera)


class Still:
    """Stays where it is: what a copy of the present is worth."""

    def begin(self, task: Task, generator: np.random.Generator) -> None:
        pass

    def act(self, observation: Observation) -> Decision:
        return Decision(np.array([*STILL[:6], observation.gripper]))


class Random:
    """Draws a feasible action at every step."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._generator = np.random.default_rng(0)

    def begin(self, task: Task, generator: np.random.Generator) -> None:
        self._generator = generator

    def act(self, observation: Observation) -> Decision:
        drawn = self._search.deviation()[None, :1] * self._generator.standard_normal((1, 1, 7))
        drawn[..., 6] = observation.gripper
        return Decision(self._search.bounds.feasible(drawn, tool_state(observation))[0, 0])


class Informed:
    """Is told the goal's tool pose and goes there straight: how well pictures could be followed by somebody who could measure in them."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._goal = np.eye(4)

    def begin(self, task: Task, generator: np.random.Generator) -> None:
        self._goal = task.tool

    def act(self, observation: Observation) -> Decision:
        wanted = np.array([*rotation.pose_error(self._goal, observation.tool), observation.gripper])
        return Decision(self._search.bounds.feasible(wanted[None, None], tool_state(observation))[0, 0])


class Planner:
    """Plans anew at every step of the model, in lock-step: the world waits while it thinks."""

    def __init__(
        self, model: WorldModel, encoder: Encoder, search: Search, fidelities: dict[Pass, Fidelity], distance: GoalDistance, frames: int
    ) -> None:
        """`frames`: how many of the newest a plan starts from."""
        model.require_encoder(encoder.name, encoder.weight_hash)
        self._model, self._encoder, self._search = model, encoder, search
        self._fidelities, self._distance, self._frames = fidelities, distance, frames
        self._before: Array = STILL
        self._guess: Array | None = None
        self._unit = 0.0
        self._place: Place | None = None

    def begin(self, task: Task, generator: np.random.Generator) -> None:
        self._generator, self._history = generator, History(seconds=60.0)
        goal = goal_of_picture(self._encoder, task.picture, f"task-{task.index}")
        self._evaluator = ModelEvaluator(self._model, goal, self._distance, self._fidelities, seed=task.index)
        self._before, self._guess, self._unit, self._place = STILL, None, 0.0, None

    def act(self, observation: Observation) -> Decision:
        began = time.perf_counter()
        frame = torch.from_numpy(np.ascontiguousarray(observation.frame)).permute(2, 0, 1)[None]
        tokens = self._encoder(frame).patches[0]
        self._history.see(observation.time, tokens)
        now = Reading(observation.time, observation.tool, observation.gripper)
        self._history.feel(now)
        self._evaluator.see(self._history.seen(self._frames, self._search.bounds.seconds, np.zeros((0, 7))))
        self._place = nearest(self._place, observation.measured, self._evaluator.distance(), self._search.retreat.apart, tokens)
        return self._planned(self._evaluator, observation, began)

    def _planned(self, evaluator: Evaluator, observation: Observation, began: float) -> Decision:
        self._unit = self._unit or max(evaluator.distance(), 1e-9)
        problem = Problem(tool_state(observation), self._before, self._unit, self._guess, self._place)
        plan = self._search.run(problem, evaluator, self._generator, time.perf_counter, np.inf)
        self._before, self._guess = plan.actions[0], rest(plan.actions, 1.0)
        return Decision(plan.actions[0], time.perf_counter() - began)


class TrueDynamics(Planner):
    """The same search over the true simulator in place of the model: what still fails is the features' and the search's share."""

    def __init__(self, model: WorldModel, encoder: Encoder, search: Search, distance: GoalDistance, world: TrueWorld) -> None:
        """The model does not imagine here: it says in which units distances between frames are measured."""
        super().__init__(model, encoder, search, {"search": Fidelity(0, 1, 1), "review": Fidelity(0, 1, 1)}, distance, frames=1)
        self._world = world

    def act(self, observation: Observation) -> Decision:
        began = time.perf_counter()
        return self._planned(self, observation, began)

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        """Carries each candidate out, and looks."""
        now = self._world.arm.snapshot()
        frames = np.stack([self._carried_out(now, candidate) for candidate in actions])
        self._world.arm.restore(now)
        steps = self._distances(frames.reshape(-1, *frames.shape[2:])).reshape(frames.shape[:2])
        return Scores(self._distance.of_plans(torch.from_numpy(steps)).numpy(), np.zeros(len(actions)))

    def correct(self, witness: Witness) -> None:
        """What is carried out is not wrong."""

    def distance(self) -> float:
        """Of what the camera sees now."""
        return float(self._distances(self._world.picture()[None])[0])

    def _carried_out(self, now: Snapshot, candidate: Array) -> Picture:
        """What is seen after each step of a candidate (H, 7): (H, height, width, 3)."""
        self._world.arm.restore(now)
        seen = []
        for action in candidate:
            carry_out(self._world.arm, action[None], self._search.bounds.seconds, self._world.rate)
            seen.append(self._world.picture())
        return np.stack(seen)

    def _distances(self, frames: Picture) -> Array:
        tokens = self._encoder(torch.from_numpy(frames).permute(0, 3, 1, 2)).patches
        return self._evaluator.distances(tokens, "search").double().numpy()


def tool_state(observation: Observation) -> ToolState:
    """Where a plan from this observation starts."""
    return ToolState(observation.tool[:3, 3], observation.tool[:3, :3], observation.gripper, observation.joints)


def carry_out(arm: EmbeddedArm, actions: Array, seconds: float, rate: float) -> None:
    """Actions (H, 7) of `seconds` each, in steps of control."""
    chunk = round(seconds * rate)
    for action in actions:
        for _ in range(chunk):
            arm.command_delta(action[:3] / chunk, action[3:6] / chunk, float(np.clip(action[6], 0.0, 1.0)), 1.0 / rate)
            arm.advance(1.0 / rate)
