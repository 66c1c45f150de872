"""Planning from two pictures, with no arm that could move: what would be done, and what is imagined to come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from wm_core.errors import CheckpointError, PlanningError
from wm_core.planning.bounds import ToolState
from wm_core.planning.doubt import doubt
from wm_core.planning.goal import Goal
from wm_core.planning.history import History, Reading
from wm_core.planning.model_evaluator import ModelEvaluator
from wm_core.planning.plan import Plan
from wm_core.planning.planner_config import PlannerConfig
from wm_core.planning.scores import Evaluator
from wm_core.planning.search import Clock, Problem, Search
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.world_model.world_model import WorldModel


@dataclass(frozen=True)
class Outlook:
    """A plan, and what it is imagined to lead to.

    Distances to the goal are shares of that of the picture now: still, of doing nothing; end, of the plan's steps; both by the careful
    look, whose spread over noise seeds is `uncertainty`. doubt: spread of the imagined future beside the calibrated one, None where the
    model is not calibrated. frames (H, P, D): latents of one imagined future on the careful look's grid.
    """

    plan: Plan
    still: float
    end: float
    uncertainty: float
    doubt: float | None
    frames: Tensor


@dataclass(frozen=True)
class Start:
    """The picture now as the encoder sees it, and where the tool is (4, 4), its opening 0 .. 1, and the joints (6,) rad where known."""

    now: Goal
    tool: Array
    gripper: float
    joints: Array | None = None


@dataclass(frozen=True)
class Planning:
    """What plans are made with: how they are searched for, on which clock (s), and what every draw comes from."""

    config: PlannerConfig
    search: Search
    clock: Clock
    seed: int


def look_ahead(model: WorldModel, start: Start, goal: Goal, planning: Planning) -> Outlook:
    """Plan from a picture to a picture. The scene is taken to have stood still before, so that the model sees as much as it is used to."""
    config, search = planning.config, planning.search
    evaluator = ModelEvaluator(model, goal, config.distance, config.fidelities, planning.seed)
    history, step = History(seconds=(config.frames + 1) * search.bounds.seconds), search.bounds.seconds
    for index in range(config.frames):
        history.see(index * step, start.now.latents)
        history.feel(Reading(index * step, start.tool, start.gripper))
    seen = history.seen(config.frames, step, np.zeros((0, 7)))
    evaluator.see(seen)
    unit = evaluator.distance()
    tool = ToolState(start.tool[:3, 3], start.tool[:3, :3], start.gripper, start.joints)
    still = np.tile([*np.zeros(6), start.gripper], (search.config.horizon, 1))
    problem = Problem(tool, still[0], unit)
    plan = search.run(problem, evaluator, np.random.default_rng(planning.seed), planning.clock, np.inf)
    both, spread = _careful(evaluator, [still, plan.actions], unit)
    doubted = doubt(model, goal, seen, plan.actions)
    return Outlook(plan, both[0], both[1], spread[1], doubted, evaluator.imagine(plan.actions[None], "review")[0, 0])


def step_of(model: WorldModel) -> float:
    """Seconds of one step of the model."""
    if model.fps is None:
        raise CheckpointError("the checkpoint does not tell the rate of its frames", mend="use one that `wm train` wrote")
    return 1.0 / model.fps


def path(start: Array, actions: Array) -> Array:
    """The tool's poses (H + 1, 4, 4) from `start` on that actions (H, 7) lead through."""
    poses = [start]
    for action in actions:
        before = poses[-1]
        poses.append(rotation.pose(before[:3, 3] + action[:3], rotation.matrix(action[3:6]) @ before[:3, :3]))
    return np.array(poses)


def _careful(evaluator: Evaluator, plans: Sequence[Array], unit: float) -> tuple[list[float], list[float]]:
    scores = evaluator.evaluate(np.array(plans), "review")
    if not (np.isfinite(scores.goal).all() and np.isfinite(scores.uncertainty).all()):
        raise PlanningError("the world model's scores cannot be compared", got="not finite", allowed="finite numbers")
    return (scores.goal / unit).tolist(), (scores.uncertainty / unit).tolist()
