"""Control evaluated over ROS in real time: what the launch is told, what of the evaluation in lock-step is left out, and each plan once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.errors import EvaluationError
from wm_core.planning.planner_config import PlannerConfig

KINDS = ("reach", "turn")
CAMERA = "front"
PLANNER = "planner.yaml"


def kinds_of(config: ControlConfig) -> tuple[str, ...]:
    """The kinds of tasks that can be judged over ROS; that none is left, or that another camera is to watch, is refused."""
    kinds = tuple(kind for kind in config.kinds if kind in KINDS)
    if not kinds:
        raise EvaluationError("nothing is left to evaluate over ROS", got=f"kinds {list(config.kinds)}", allowed=", ".join(KINDS))
    if config.tasks.camera != CAMERA:
        mend = f"tasks.camera={CAMERA}, or evaluate in lock-step"
        raise EvaluationError("over ROS the controller watches through one camera", got=config.tasks.camera, allowed=CAMERA, mend=mend)
    return kinds


def left_out(config: ControlConfig) -> list[str]:
    """What is asked for and is not done over ROS, one sentence each."""
    kinds = [kind for kind in config.kinds if kind not in KINDS]
    said = [f"kind {', '.join(kinds)} is left out: over ROS nobody says where an object is"] if kinds else []
    said += [f"policies {', '.join(config.policies)} are left out: over ROS the controller alone is tried"]
    if config.shifts.trials and config.shifts.scenes:
        said += [f"shifts {', '.join(config.shifts.scenes)} are left out: over ROS the world looks as it was in training"]
    return said


def launch_folder(config: ControlConfig, planner: PlannerConfig, kind: str, folder: Path) -> Path:
    """`folder` for the launch argument `config`: in it planner.yaml says what tasks of a kind ask for, as in lock-step."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.loads(json.dumps(asdict(config.planner_for(planner, kind))))
    (folder / PLANNER).write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return folder


@dataclass
class PlansHeard:
    """The plans of one trial, of which the controller speaks at every tick, each once: how long it took, and from frame to command (s)."""

    planning: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    missed: int = 0
    _newest: tuple[str, int] = ("", 0)

    def hear(self, plan: tuple[str, int], planning: float, latency: float, missed: int) -> None:
        """Of a plan, known by its goal and its number, and how many deadlines were missed until now."""
        self.missed = missed
        if plan != self._newest:
            self._newest = plan
            self.planning.append(planning)
            self.latency.append(latency)
