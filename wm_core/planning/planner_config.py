"""How plans are searched for, config/planner.yaml: one description for the controller, for planning offline and for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.configuration import setting
from wm_core.planning.bounds import Bounds, JointBounds, StepLimits
from wm_core.planning.cost import Cost, CostWeights
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.retreat import RetreatConfig
from wm_core.planning.scores import Fidelity, Pass
from wm_core.planning.search import Search, SearchConfig
from wm_core.robot.guard_config import GuardConfig, Workspace
from wm_core.robot.robot_config import Robot
from wm_core.world_model.engine_config import EngineConfig

OPEN = 10.0  # m; as far as a side reaches on which the guard has no wall


@dataclass(frozen=True)
class Within:
    """How far inside the safety guard's limits plans stay: the guard cuts what it gets, and a cut step is not what was imagined."""

    speed: float = setting("Share of the guard's largest speeds, of the tool and of the joints", low=0.01, high=1.0)
    distance: float = setting("Distance from the guard's walls, beside its own inflation", unit="m", low=0.0, high=0.2)
    lean: tuple[float, float, float] = setting(
        "Largest rotation away from pointing straight down, about x, y and z", unit="rad", low=0.0, high=3.1416
    )


@dataclass(frozen=True)
class PlannerConfig:
    """Everything about planning but the model, the goal and the robot."""

    frames: int = setting("Newest frames that a plan starts from, one step of the model apart", low=1, high=1024)
    engine: EngineConfig = setting("What computes the imagined frames")
    within: Within = setting("How far inside the guard's limits plans stay")
    search: SearchConfig = setting("How candidates are drawn")
    cost: CostWeights = setting("What counts")
    distance: GoalDistance = setting("How far imagined frames are from the goal")
    retreat: RetreatConfig = setting("When the arm goes back to the nearest place that it has seen")
    cheap: Fidelity = setting("How every candidate is imagined")
    careful: Fidelity = setting("How the best few are imagined again")

    @property
    def fidelities(self) -> dict[Pass, Fidelity]:
        return {"search": self.cheap, "review": self.careful}


def search_of(config: PlannerConfig, guard: GuardConfig, robot: Robot, seconds: float) -> Search:
    """The search for an arm behind this guard, with steps of the model of `seconds`."""
    limits = step_limits(config.within, guard)
    joints = JointBounds.of(
        robot.kinematics, robot.limits, guard.joints.position_margin, config.within.speed * guard.joints.velocity_fraction
    )
    return Search(config.search, Bounds(limits, seconds, joints), Cost(config.cost, limits, seconds), config.retreat)


def step_limits(within: Within, guard: GuardConfig) -> StepLimits:
    """The guard's speeds and walls, and a little less."""
    inside = guard.barrier.inflation + within.distance
    low, high = (_corner(guard.workspace, side, inside) for side in ("min", "max"))
    return StepLimits(within.speed * guard.tool_speed.linear, within.speed * guard.tool_speed.angular, low, high, within.lean)


def _corner(workspace: Workspace, side: str, inside: float) -> tuple[float, float, float]:
    walls = [getattr(workspace, f"{side}_{axis}") for axis in "xyz"]
    sign = 1.0 if side == "min" else -1.0
    x, y, z = np.clip([-sign * OPEN if wall is None else wall + sign * inside for wall in walls], -OPEN, OPEN).tolist()
    return x, y, z
