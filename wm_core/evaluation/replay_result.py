"""What a model makes of a recording: its predictions against what came, its plans against what was done, and how long all that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.guarded_step import guarded_step
from wm_core.evaluation.replay import Frame, Replay
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.planning.bounds import ToolState
from wm_core.planning.goal import Goal
from wm_core.planning.history import OFF_TIME, History
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.planner_config import PlannerConfig
from wm_core.planning.search import Problem, Search
from wm_core.robot.guard import Guard
from wm_core.robot.proprioception import action_row
from wm_core.robot.rotation import Array
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.world_model import WorldModel

NONE = np.zeros((0, 7))
MOVED, TURNED = 0.002, 0.01  # m, rad: a step that was shorter has no direction


@dataclass(frozen=True)
class Prediction:
    """At h = 1 .. H over `starts` beginnings: squared error of imagined and held frames; how often the bands held, None without bands."""

    starts: int
    model: tuple[float, ...]
    copy: tuple[float, ...]
    covered: tuple[float, ...] | None
    bands: float | None

    @property
    def ratio(self) -> tuple[float, ...]:
        """Error in units of that of holding the last frame still."""
        return tuple(one / max(other, 1e-12) for one, other in zip(self.model, self.copy, strict=True))


@dataclass(frozen=True)
class Compared:
    """A plan's first step beside what was done then: cosine and ratio of the ways and of the turns (None: hardly any).

    `imagined`: the plan's cost. `left`: the share of the planned way that the guard would have let through, and `limits`: those that would
    have cut it; None: it would not have armed the arm where it was.
    """

    time: float
    planned: tuple[float, ...]
    done: tuple[float, ...]
    cosine: float | None
    ratio: float | None
    turn_cosine: float | None
    turn_ratio: float | None
    imagined: float
    seconds: float
    left: float | None
    limits: tuple[str, ...] | None


@dataclass(frozen=True)
class Planning:
    """All that says what would have been commanded."""

    config: PlannerConfig
    search: Search
    guard: Guard


@dataclass(frozen=True)
class ReplayResult:
    """Everything; times in s."""

    model: str
    encoder: str
    arm: str
    frames: int
    seconds: float
    prediction: Prediction
    plans: tuple[Compared, ...]
    guard_cut: float | None  # share of the guard's words in which a limit cut
    encoding: tuple[float, float]  # p50, p95
    predicting: float  # of one beginning, mean
    age: tuple[float, float] | None  # of a frame when it came: p50, p95; None: it was played, which does not tell
    heard: dict[str, int] = field(default_factory=dict)  # messages by topic
    missed: dict[str, int] = field(default_factory=dict)
    strip: tuple[float, ...] = ()  # stamps of the frames of the strip

    @property
    def cosine(self) -> float | None:
        """Median over the plans that moved."""
        return _median([one.cosine for one in self.plans])

    @property
    def magnitude(self) -> float | None:
        return _median([one.ratio for one in self.plans])

    @property
    def turn_cosine(self) -> float | None:
        """Median over the plans that turned."""
        return _median([one.turn_cosine for one in self.plans])

    @property
    def turn_magnitude(self) -> float | None:
        return _median([one.turn_ratio for one in self.plans])

    @property
    def planned_cut(self) -> float | None:
        """Share of the plans whose first step a limit of the guard would have cut."""
        asked = [len(one.limits) > 0 for one in self.plans if one.limits is not None]
        return float(np.mean(asked)) if asked else None

    @property
    def planned_left(self) -> float | None:
        return _median([one.left for one in self.plans])


@dataclass(frozen=True)
class Beginning:
    """A frame from which it is predicted: what was seen until then, what came, and what was done (H, 7) in between."""

    seen: Seen
    future: tuple[Frame, ...]
    actions: Array


def evaluate_replay(
    replay: Replay, model: WorldModel, config: ReplayConfig, planning: Planning | None
) -> tuple[ReplayResult, tuple[Beginning, Tensor]]:
    """The numbers, and the beginning with the most motion with the frames (H, P, D) that were imagined from it."""
    model.require_encoder(replay.encoder.name, replay.encoder.weight_hash)
    step, history = 1.0 / (model.fps or 0.0), replay.history()
    horizon = min(config.horizon, len(model.calibration.quantile)) if model.calibration else config.horizon
    context = model.calibration.context if model.calibration else config.context
    begun = _beginnings(replay, history, config, step, context, horizon)
    if not begun:
        got = "; ".join(f"{count} x {why}" for why, count in replay.missed.items()) or f"{len(replay.frames)} frames"
        raise EvaluationError("nothing of this recording can be predicted", got=got, allowed=f"{context + horizon} frames {step:g} s apart")
    started = time.perf_counter()
    prediction, best = _predict(model, begun, config, horizon)
    each = (time.perf_counter() - started) / len(begun)
    plans = _plans(replay, model, history, config, planning, step) if planning is not None else ()
    ages = [frame.received - frame.stamp for frame in replay.frames if frame.received is not None]
    stamps = [frame.stamp for frame in replay.frames]
    result = ReplayResult(
        model=model.hash,
        encoder=replay.encoder.weight_hash,
        arm=replay.arm,
        frames=len(replay.frames),
        seconds=stamps[-1] - stamps[0],
        prediction=prediction,
        plans=plans,
        guard_cut=float(np.mean([cut for _, cut in replay.guard])) if replay.guard else None,
        encoding=_percentiles(replay.encoding),
        predicting=each,
        age=_percentiles(ages) if ages else None,
        heard=replay.heard,
        missed=replay.missed | replay.gaps(),
        strip=tuple(frame.stamp for frame in begun[best[0]].future),
    )
    return result, (begun[best[0]], best[1])


def _beginnings(replay: Replay, history: History, config: ReplayConfig, step: float, context: int, horizon: int) -> list[Beginning]:
    """At most one per stride; one whose past, future or actions are not all there is counted as missed."""
    found, due = list[Beginning](), -np.inf
    stamps = np.array([frame.stamp for frame in replay.frames])
    for frame in replay.frames:
        if frame.stamp < due:
            continue
        due = frame.stamp + config.stride - 1e-6
        seen = history.until(frame.stamp).seen(context, step, NONE)
        future = _future(replay.frames, stamps, frame.stamp, step, horizon)
        if len(seen.latents) < context or future is None:
            continue  # the recording had only begun, or is about to end
        readings = [history.reading_at(stamp) for stamp in (frame.stamp, *(one.stamp for one in future))]
        if any(one is None for one in readings) or not bool(seen.known.all()):
            replay.miss("a beginning without the guard's word of what was done")
            continue
        known = [one for one in readings if one is not None]
        actions = np.array([action_row(a.pose, b.pose, b.gripper) for a, b in pairwise(known)])
        found.append(Beginning(seen, future, actions))
    return found


def _future(frames: Sequence[Frame], stamps: Array, start: float, step: float, horizon: int) -> tuple[Frame, ...] | None:
    chosen = []
    for ahead in range(1, horizon + 1):
        wanted = start + ahead * step
        index = int(np.argmin(np.abs(stamps - wanted)))
        if abs(stamps[index] - wanted) > OFF_TIME * step:
            return None
        chosen.append(frames[index])
    return tuple(chosen)


def _predict(model: WorldModel, begun: Sequence[Beginning], config: ReplayConfig, horizon: int) -> tuple[Prediction, tuple[int, Tensor]]:
    bands = model.calibration
    grid = bands.grid if bands else model.grids[0]
    steps, seeds = (bands.steps, bands.seeds) if bands else (config.steps, config.seeds)
    errors, copies, spreads, frames = [], [], [], []
    for one in begun:
        seen = one.seen
        count = len(seen.latents)
        actions, known = torch.zeros(1, count, 7), torch.zeros(1, count, dtype=torch.bool)
        actions[0, :-1], known[0, :-1] = seen.actions, seen.known
        told = None if seen.readings is None else seen.readings[None]
        conditioning = Conditioning(actions, known, told, None if told is None else torch.ones(1, count, dtype=torch.bool))
        start = model.context(model.pooled(seen.latents[None], grid), conditioning, config.seed, grid)
        draws = tuple(range(config.seed, config.seed + seeds))
        raw = model.imagine(start, torch.from_numpy(one.actions).float()[None, None], draws, steps)[:, 0, 0]
        imagined = model.normalised(raw)
        real = model.normalised(model.pooled(torch.stack([seen.latents[-1], *(frame.latents for frame in one.future)]), grid))
        errors.append((imagined.mean(0) - real[1:]).square().mean((-2, -1)))
        copies.append((real[:1] - real[1:]).square().mean((-2, -1)))
        spreads.append(imagined.var(0).mean((-2, -1)).sqrt() if seeds > 1 else torch.zeros(horizon))
        frames.append(raw[0])
    error, copy, spread = torch.stack(errors), torch.stack(copies), torch.stack(spreads)
    covered = None if bands is None else _numbers((error.sqrt() <= bands.band(spread)).float().mean(0))
    most = int(copy[:, -1].argmax())
    found = Prediction(len(begun), _numbers(error.mean(0)), _numbers(copy.mean(0)), covered, bands.coverage if bands else None)
    return found, (most, frames[most])


def _plans(
    replay: Replay, model: WorldModel, history: History, config: ReplayConfig, planning: Planning, step: float
) -> tuple[Compared, ...]:
    """Along the recording: what would have been planned toward a frame that came later, beside what was done."""
    frames = replay.frames
    usable = [frame for frame in frames if frames[0].stamp + planning.config.frames * step <= frame.stamp <= frames[-1].stamp - step]
    picked = (
        [usable[index] for index in np.unique(np.linspace(0, len(usable) - 1, min(config.plans, len(usable))).astype(int))]
        if usable
        else []
    )
    found = []
    for frame in picked:
        goal = next(one for one in reversed(frames) if one.stamp <= frame.stamp + config.ahead or one is frame)
        compared = _compared(replay, model, history, frame, goal, config.seed, planning)
        if compared is not None:
            found.append(compared)
    return tuple(found)


def _compared(
    replay: Replay, model: WorldModel, history: History, frame: Frame, goal: Frame, seed: int, planning: Planning
) -> Compared | None:
    planner, search = planning.config, planning.search
    step = search.bounds.seconds
    now, later = history.reading_at(frame.stamp), history.reading_at(frame.stamp + step)
    told = replay.told_at(frame.stamp)
    if now is None or later is None or told is None:
        replay.miss("a plan without the guard's word of where the arm was")
        return None
    encoder = replay.encoder
    wanted = Goal("a later frame", goal.latents, encoder.grid, encoder.name, encoder.weight_hash, np.zeros((1, 1, 3), np.uint8))
    evaluator = ModelEvaluator(model, wanted, planner.distance, planner.fidelities, seed)
    evaluator.see(history.until(frame.stamp).seen(planner.frames, step, NONE))
    before = np.array([*np.zeros(6), now.gripper])
    try:
        problem = Problem(ToolState(now.pose[:3, 3], now.pose[:3, :3], now.gripper, told[0]), before, evaluator.distance())
    except PlanningError:
        replay.miss("a plan whose goal is the frame it begins with")
        return None
    began = time.perf_counter()
    plan = search.run(problem, evaluator, np.random.default_rng(seed), time.perf_counter, np.inf)
    done = action_row(now.pose, later.pose, later.gripper)
    took = time.perf_counter() - began
    ways = _alike(plan.actions[0, :3], done[:3], MOVED)
    turns = _alike(plan.actions[0, 3:6], done[3:6], TURNED)
    let = guarded_step(planning.guard, *told, plan.actions[0], step)
    if let is None:
        replay.miss("a plan from where the guard would not have armed the arm")
    left, limits = (None, None) if let is None else (let.left, let.limits)
    return Compared(frame.stamp, _row(plan.actions[0]), _row(done), *ways, *turns, float(plan.cost), took, left, limits)


def _alike(planned: Array, done: Array, least: float) -> tuple[float | None, float | None]:
    """Cosine and ratio of lengths; None where one that counts is shorter than `least`."""
    lengths = float(np.linalg.norm(planned)), float(np.linalg.norm(done))
    if lengths[1] < least:
        return None, None
    cosine = float(planned @ done / (lengths[0] * lengths[1])) if lengths[0] >= least else None
    return cosine, lengths[0] / lengths[1]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    return (float(np.percentile(values, 50)), float(np.percentile(values, 95))) if len(values) else (0.0, 0.0)


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _row(action: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in action)
