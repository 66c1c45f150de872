"""Closed-loop control of the embedded arm in lock-step: policies on the same seeded tasks, judged by where tool and objects end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wm_core.configuration import setting
from wm_core.evaluation.control_policy import Observation, Policy, carry_out
from wm_core.evaluation.control_task import Task, TaskConfig, tasks
from wm_core.robot.rotation import Array
from wm_core.simulation.camera import Picture
from wm_core.simulation.embedded_arm import EmbeddedArm


@dataclass(frozen=True)
class JudgeConfig:
    """How long a trial lasts, and when it is a success: every one of the last steps of the model must be within all tolerances."""

    seconds: float = setting("Length of a trial in simulated time", unit="s", low=0.1, high=600.0)
    last: int = setting("Steps of the model at the end that are judged", low=1, high=100)
    tolerance: float = setting("Largest error of the tool, for kinds reach and turn", unit="m", low=0.001, high=1.0)
    turn_tolerance: float = setting("Largest error of its orientation, for kind turn", unit="rad", low=0.001, high=3.2)
    object_tolerance: float = setting("Largest error of the object, for kind push", unit="m", low=0.001, high=1.0)

    def succeeded(self, kind: str, errors: Array) -> bool:
        """Errors (T, 3) of tool (m), orientation (rad) and object (m) after each step of the model."""
        judged = {"reach": [self.tolerance, np.inf, np.inf], "push": [np.inf, np.inf, self.object_tolerance]}
        allowed = judged.get(kind, [self.tolerance, self.turn_tolerance, np.inf])
        return bool((errors[-self.last :] <= allowed).all())


@dataclass(frozen=True)
class Trial:
    """What became of one task.

    errors (T, 3) after each step of the model: tool m, rad, object m; path (T + 1, 3): commanded tool positions, m; planning: seconds of
    each plan; missed: deadlines, in lock-step the plans that took longer than the step that they are for; latency: seconds from the newest
    camera frame that a plan was made from to the tick that sends its first command, one of each plan; empty in lock-step, where the world
    waits.
    """

    index: int
    success: bool
    errors: Array
    path: Array
    planning: Array
    missed: int
    frames: tuple[Picture, ...] = ()
    latency: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Summary:
    """One policy over all tasks of a kind in a scene.

    low .. high is the 95 % interval of the share of successes; errors are medians over tasks at the end; jerk is the root mean square of
    the path's, m/s^3; planning and latency are quantiles over plans, s; missed: deadlines, of so many plans.
    """

    policy: str
    kind: str
    trials: int
    successes: int
    low: float
    high: float
    tool_error: float
    turn_error: float
    object_error: float
    jerk: float
    planning: float
    planning_p95: float
    plans: int
    missed: int
    latency_p95: float | None
    scene: str = ""

    @property
    def rate(self) -> float:
        return self.successes / self.trials


def run(policy: Policy, arm: EmbeddedArm, task: Task, tasks_config: TaskConfig, judge: JudgeConfig, step: float, keep: int = 0) -> Trial:
    """One trial with steps of `step` seconds; every `keep`-th frame and the last is kept for pictures (0: none)."""
    arm.restore(task.start)
    policy.begin(task, np.random.default_rng([tasks_config.seed, 1, task.index]))
    errors, path, planning, frames = [], [arm.commanded_pose()[:3, 3].copy()], [], []
    for index in range(round(judge.seconds / step)):
        frame = arm.render(tasks_config.camera)
        if keep and index % keep == 0:
            frames.append(frame)
        seen = Observation(arm.time, frame, arm.commanded_pose(), arm.gripper, arm.joint_targets, arm.tool_pose())
        decision = policy.act(seen)
        carry_out(arm, decision.action[None], step, tasks_config.rate)
        errors.append(task.errors(arm))
        path.append(arm.commanded_pose()[:3, 3].copy())
        planning.append(decision.seconds)
    if keep:
        frames.append(arm.render(tasks_config.camera))
    rows, took = np.array(errors), np.array(planning)
    return Trial(task.index, judge.succeeded(task.kind, rows), rows, np.array(path), took, int((took > step).sum()), tuple(frames))


def compare(
    policies: dict[str, Policy],
    arm: EmbeddedArm,
    config: TaskConfig,
    judge: JudgeConfig,
    step: float,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, list[Trial]]:
    """The trials of every policy, all on the same tasks."""
    trials: dict[str, list[Trial]] = {name: [] for name in policies}
    for task in tasks(config, arm):
        for name, policy in policies.items():
            trials[name].append(run(policy, arm, task, config, judge, step))
        ends = ", ".join(f"{name} {100 * done[-1].errors[-1, 0]:.1f} cm" for name, done in trials.items())
        say(f"{config.kind} {task.index + 1} of {config.trials}: {ends}")
    return trials


def summary(policy: str, kind: str, trials: Sequence[Trial], step: float, scene: str = "") -> Summary:
    """The numbers of one policy; every trial is at least three steps of the model long."""
    successes = sum(trial.success for trial in trials)
    low, high = wilson(successes, len(trials))
    tool, turn, away = (float(end) for end in np.median([trial.errors[-1] for trial in trials], axis=0))
    jerks = np.concatenate([np.linalg.norm(np.diff(trial.path, n=3, axis=0), axis=1) for trial in trials]) / step**3
    rms, missed = float(np.sqrt(np.square(jerks).mean())), sum(trial.missed for trial in trials)
    planning, latency = (np.concatenate([getattr(trial, name) for trial in trials]) for name in ("planning", "latency"))
    half, most = (float(np.quantile(planning, share)) if len(planning) else 0.0 for share in (0.5, 0.95))
    late = float(np.quantile(latency, 0.95)) if len(latency) else None
    errors = (tool, turn, away)
    return Summary(policy, kind, len(trials), successes, low, high, *errors, rms, half, most, len(planning), missed, late, scene)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share after `trials`, by Wilson's score; the share itself is in it, whatever rounding says."""
    share, extra = successes / trials, z * z / trials
    middle, half = share + extra / 2.0, z * math.sqrt(share * (1.0 - share) / trials + extra / (4.0 * trials))
    low, high = (middle - half) / (1.0 + extra), (middle + half) / (1.0 + extra)
    return max(0.0, min(low, share)), min(1.0, max(high, share))
