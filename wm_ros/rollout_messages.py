"""Questions to a rollout server and its answers, as messages."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.planning.goal import Goal
from wm_core.planning.imaginer import Answer, ContextError, Question
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.scores import Fidelity, Scores
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array
from wm_core.world_model.world_model import Grid, WorldModel
from wm_ros.conversions import time_message
from wm_ros.latents import latents
from wm_ros.msg import LatentFrame
from wm_ros.srv import Rollout

ACTION = 7


def floats(values: Any) -> array[float]:
    """Numbers as rclpy takes them without looking at each."""
    return array("f", np.asarray(values, dtype=np.float32).tobytes())


def frame_message(tokens: Tensor, encoder: str, encoder_hash: str, grid: Grid) -> LatentFrame:
    """Tokens (P, D) on a grid, which need not be the encoder's own."""
    message = LatentFrame(encoder=encoder, encoder_hash=encoder_hash, grid_height=grid[0], grid_width=grid[1], dim=int(tokens.shape[1]))
    message.data = array("B", tokens.detach().cpu().numpy().astype("<f2").tobytes())
    return message


def request_message(
    seen: Seen, actions: Array, goal: Goal, discount: float, seed: int, fidelity: Fidelity, witness: Witness | None = None
) -> Rollout.Request:
    """Candidates (N, H, 7) from what was seen."""
    message = Rollout.Request(frames=len(seen.latents), samples=len(actions), horizon=actions.shape[1])
    message.context_stamp = time_message(seen.stamp)
    message.committed, message.actions = floats(seen.committed.numpy()), floats(actions)
    message.context_checks = array("I", [_check(frame) for frame in seen.latents])
    message.context_actions = floats(torch.where(seen.known[:, None], seen.actions, torch.nan).numpy())
    message.context_readings = floats([] if seen.readings is None else seen.readings.numpy())
    message.goal = frame_message(goal.latents, goal.encoder, goal.encoder_hash, goal.grid)
    message.goal_weights = floats([] if goal.weights is None else goal.weights.cpu().numpy())
    if witness is not None:
        message.witness_way, message.witness_arrived = floats(witness.way), witness.arrived
        message.witness = frame_message(witness.seen, goal.encoder, goal.encoder_hash, goal.grid)
    message.discount, message.seed = float(discount), int(seed)
    message.seeds, message.steps, message.grid = int(fidelity.seeds), int(fidelity.steps), int(fidelity.grid)
    return message


def question(request: Rollout.Request) -> Question:
    """What a request asks; sizes that disagree are refused."""
    fidelity = Fidelity(grid=int(request.grid), steps=int(request.steps), seeds=int(request.seeds) or 1)
    wanted = bool(request.want_latents or request.want_images)
    actions = _rows(request.actions, (int(request.samples), int(request.horizon)), "actions")
    if len(actions) and not actions.shape[1]:
        raise PlanningError("samples without a step", got=f"{request.samples} samples, horizon 0", allowed="a horizon of at least 1")
    aims = _goal(request), float(request.discount), int(request.seed)
    return Question(actions, *aims, fidelity, wanted, bool(request.want_doubt), _witness(request))


def committed(request: Rollout.Request) -> Array:
    """Actions (C, 7) that are under way."""
    return _rows(request.committed, (len(request.committed) // ACTION,), "committed")


def agreed(request: Rollout.Request, held: Seen) -> Seen:
    """The context as whoever asks knows it: the frames have to be the same, the actions and readings between them are theirs."""
    if len(held.latents) < request.frames:
        raise ContextError("the context is too short", got=f"{len(held.latents)} frames", allowed=f"{request.frames} were asked for")
    if not len(request.context_checks):
        return held
    checks = [_check(frame) for frame in held.latents]
    if list(request.context_checks) != checks:
        raise ContextError("other frames are held", got=f"{checks}", allowed=f"{list(request.context_checks)}")
    actions = torch.from_numpy(_rows(request.context_actions, (len(checks) - 1,), "context_actions")).float()
    known = actions.isfinite().all(-1)
    rows = _rows(request.context_readings, (len(checks),), "context_readings") if len(request.context_readings) else None
    readings = None if rows is None else torch.from_numpy(rows).float()
    return replace(held, actions=torch.where(known[:, None], actions, 0.0), known=known, readings=readings)


def fill(response: Rollout.Response, answer: Answer, told_frames: bool, model: WorldModel, asked: Question) -> None:
    """The numbers of an answer, and if they are to be told, its frames as messages."""
    response.distance = 0.0 if answer.distance is None else float(answer.distance)
    if answer.scores is not None:
        response.costs, response.uncertainty = floats(answer.scores.goal), floats(answer.scores.uncertainty)
    if asked.doubt:
        response.doubt = -1.0 if answer.doubt is None else float(answer.doubt)
    if answer.frames is not None and told_frames:
        own, grid = model.provenance, model.grids[asked.fidelity.grid]
        flat = answer.frames.flatten(0, 2)
        response.latents = [frame_message(frame, own.encoder, own.encoder_hash, grid) for frame in flat]


def scores(response: Rollout.Response) -> Scores:
    """Of the samples of a request."""
    return Scores(np.array(response.costs, dtype=np.float64), np.array(response.uncertainty, dtype=np.float64))


def frames(response: Rollout.Response, shape: tuple[int, int, int]) -> Tensor:
    """Imagined frames (seeds, N, H, P, D)."""
    told = [latents(message) for message in response.latents]
    if len(told) != math.prod(shape):
        raise PlanningError("the server sent other frames than were asked for", got=len(told), allowed=str(math.prod(shape)))
    return torch.stack(told).unflatten(0, shape)


def _check(frame: Tensor) -> int:
    """Of tokens (P, D), as a frame message holds them."""
    return crc32(frame.cpu().numpy().astype("<f2").tobytes())


def _goal(request: Rollout.Request) -> Goal | None:
    if not len(request.goal.data):
        return None
    grid = (int(request.goal.grid_height), int(request.goal.grid_width))
    tokens, weights = latents(request.goal), np.array(request.goal_weights, dtype=np.float32)
    if len(weights) and (len(weights) != len(tokens) or not np.isfinite(weights).all()):
        raise PlanningError(
            "the weights do not fit the goal", got=f"{len(weights)} weights", allowed=f"{len(tokens)} finite numbers, or none"
        )
    told = torch.from_numpy(weights) if len(weights) else None
    return Goal("asked", tokens, grid, request.goal.encoder, request.goal.encoder_hash, np.zeros((1, 1, 3), np.uint8), told)


def _witness(request: Rollout.Request) -> Witness | None:
    if not len(request.witness.data):
        return None
    if request.witness.encoder_hash != request.goal.encoder_hash:
        raise PlanningError("the witness was seen by another encoder than the goal", got=request.witness.encoder_hash[:12])
    count = len(request.witness_way) // ACTION
    way, arrived = _rows(request.witness_way, (count,), "witness_way"), int(request.witness_arrived)
    if not arrived < count or request.horizon > count:
        got, allowed = f"{count} steps, there with step {arrived}", f"at least {request.horizon} steps, there with one of them"
        raise PlanningError("the witness does not say how its way ends", got=got, allowed=allowed)
    return Witness(way, arrived, latents(request.witness))


def _rows(values: Sequence[float] | Iterable[float], counts: tuple[int, ...], what: str) -> NDArray[np.float64]:
    numbers = np.array(values, dtype=np.float64)
    if numbers.size != math.prod(counts) * ACTION:
        allowed = f"{' x '.join(map(str, counts))} x {ACTION}"
        raise PlanningError(f"the {what} are not what the request says", got=f"{numbers.size} numbers", allowed=allowed)
    return numbers.reshape(*counts, ACTION)
