"""The configuration of `wm evaluate control`, as it stands in config/control.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wm_core.configuration import setting
from wm_core.evaluation.control import JudgeConfig
from wm_core.evaluation.control_task import KINDS, TaskConfig
from wm_core.planning.planner_config import PlannerConfig
from wm_core.simulation.scene import CAMERAS, Scene

POLICIES = ("random", "copy", "informed", "planner", "deterministic", "truth")


@dataclass(frozen=True)
class TasksConfig:
    """What is asked of the arm."""

    trials: int = setting("Tasks of each kind", low=1, high=10_000)
    seed: int = setting("What every task is drawn from; another one than any that data were collected with", low=0, high=2**31 - 1)
    nearest: float = setting("reach, turn: least distance of the tool from the goal at the start", unit="m", low=0.0, high=1.0)
    farthest: float = setting("reach, turn: largest distance of the tool from the goal at the start", unit="m", low=0.01, high=1.0)
    turn: float = setting("turn: largest rotation between start and goal about each axis", unit="rad", low=0.0, high=1.0)
    pushed_least: float = setting("push: least distance that the object is to be moved", unit="m", low=0.0, high=1.0)
    pushed_most: float = setting("push: largest distance that the object is to be moved", unit="m", low=0.01, high=1.0)
    camera: str = setting("Camera that sees the goal and the scene", choices=CAMERAS)
    rate: float = setting("Steps of control per second", unit="Hz", low=1.0, high=50.0)
    speed: float = setting("Speed at which tasks are prepared", unit="m/s", low=0.01, high=1.0)

    def of(self, kind: str, trials: int) -> TaskConfig:
        """The tasks of one kind."""
        ways = (self.pushed_least, self.pushed_most) if kind == "push" else (self.nearest, self.farthest)
        return TaskConfig(kind, trials, self.seed, *ways, self.turn, self.camera, self.rate, self.speed)


@dataclass(frozen=True)
class TruthConfig:
    """The search over the true simulator, which is slow: as the planner's but for these numbers."""

    horizon: int = setting("Steps of the model to look ahead", low=1, high=64)
    samples: int = setting("Candidates of one iteration", low=4, high=65536)
    iterations: int = setting("Iterations", low=1, high=100)
    elites: int = setting("Candidates that the next ones are drawn around", low=1, high=4096)
    trials: int = setting("Tasks of each kind that it is given, the first ones", low=0, high=10_000)


@dataclass(frozen=True)
class ShiftsConfig:
    """The same tasks in a world that looks otherwise, goal pictures too."""

    kinds: tuple[str, ...] = setting("Kinds of tasks", choices=KINDS)
    policies: tuple[str, ...] = setting("Who is tried", choices=POLICIES)
    trials: int = setting("Tasks of each kind, the first ones", low=0, high=10_000)
    scenes: dict[str, Scene] = setting("The scenes by name, as in sim_arm.yaml; what is left out is as it was in training")


@dataclass(frozen=True)
class ControlConfig:
    """One evaluation of control."""

    kinds: tuple[str, ...] = setting("Kinds of tasks", choices=KINDS)
    policies: tuple[str, ...] = setting("Who is tried, all on the same tasks", choices=POLICIES)
    rotation: float = setting("turn: the planner's search.rotation, as its goals ask for rotation and others do not", low=0.0, high=10.0)
    tasks: TasksConfig = setting("What is asked of the arm")
    judge: JudgeConfig = setting("How long a trial lasts, and when it is a success")
    truth: TruthConfig = setting("The search over the true simulator")
    shifts: ShiftsConfig = setting("The same tasks in a world that looks otherwise")
    pictures: int = setting("Frames of a trial in its strip, before the goal; 0: no strips", low=0, high=100)
    processes: int = setting("Processes that trials are divided among, one thread each", low=1, high=256)

    def planner_for(self, planner: PlannerConfig, kind: str, true_dynamics: bool = False) -> PlannerConfig:
        """The planner's configuration for tasks of one kind."""
        search = replace(planner.search, rotation=self.rotation) if kind == "turn" else planner.search
        if true_dynamics:
            truth = self.truth
            sizes = replace(search, horizon=truth.horizon, samples=truth.samples, elites=truth.elites, keep=min(search.keep, truth.elites))
            search = replace(sizes, iterations=truth.iterations, review=0)
        return replace(planner, search=search)
