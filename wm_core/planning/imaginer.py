"""What others ask a world model to imagine, answered by the very evaluator that plans in one process: the scores are the same."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wm_core.errors import GoalError, PlanningError
from wm_core.planning.doubt import doubt
from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.history import History
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.scores import Fidelity, Scores
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array
from wm_core.world_model.world_model import WorldModel

SAME_STAMP = 1e-6  # s; what is left of a stamp after it went through a float
LONGEST = 64  # steps into the future, one after the other, whatever the number of samples
KEPT = 6  # contexts: of how far the goal is, of a search and of its review, for two who ask


class ContextError(PlanningError):
    """The frames that somebody wants to start from are not held."""


class MismatchError(PlanningError):
    """Another model is asked for than the one that serves."""


@dataclass(frozen=True)
class Question:
    """actions (N, H, 7), where N may be 0; a goal and the discount of its distance, or None; the first seed, and how to imagine.

    fidelity.steps of 0 are the model's own. `frames` says whether the imagined ones are wanted themselves, `doubt` whether it is told how
    far the model's own futures of the first candidate lie apart; the `witness` shows what is imagined wrong here.
    """

    actions: Array
    goal: Goal | None
    discount: float
    seed: int
    fidelity: Fidelity
    frames: bool = False
    doubt: bool = False
    witness: Witness | None = None

    def require_sane(self, largest: int) -> None:
        """Refuse what is not finite, or more than `largest` imagined frames."""
        if self.witness is not None and not (np.isfinite(self.witness.way).all() and bool(self.witness.seen.isfinite().all())):
            raise PlanningError("the witness is not finite", got=f"{len(self.witness.way)} steps")
        if not np.isfinite(self.actions).all():
            raise PlanningError("actions are not finite", got=f"{int((~np.isfinite(self.actions)).sum())} numbers")
        if not 0.0 <= self.discount <= 1.0:
            raise PlanningError("there is no such discount", got=self.discount, allowed="0 .. 1")
        if self.actions.shape[1] > LONGEST:
            raise PlanningError("too far ahead", got=f"{self.actions.shape[1]} steps", allowed=f"1 .. {LONGEST}", mend="horizon")
        count = self.actions.shape[0] * self.actions.shape[1] * self.fidelity.seeds
        if count > largest:
            raise PlanningError(
                "too much to imagine at once", got=f"{count} frames", allowed=f"1 .. {largest}", mend="largest, or ask twice"
            )


class Answer(NamedTuple):
    """Distance of the newest frame to the goal and the candidates' scores, where there is a goal; frames (seeds, N, H, P, D), raw.

    doubt as in wm_core.planning.doubt, of the first candidate.
    """

    distance: float | None
    scores: Scores | None
    frames: Tensor | None
    doubt: float | None


def ripe(history: History, stamp: float, with_reading: bool) -> bool:
    """Whether the frame of that stamp (s) is there, and so is the reading beside it, where that is wanted and any come at all."""
    told = history.last_reading if with_reading else None
    return history.newest >= stamp - SAME_STAMP and (told is None or told.stamp >= stamp - SAME_STAMP)


def seen_at(history: History, stamp: float | None, frames: int, step: float, committed: Array) -> Seen:
    """At most `frames` frames, `step` s apart, that end with the one of this stamp (s); None: the newest."""
    if len(committed) > LONGEST:
        raise PlanningError("too much is under way", got=f"{len(committed)} committed actions", allowed=f"0 .. {LONGEST}")
    if not np.isfinite(committed).all():
        raise PlanningError("committed actions are not finite", got=f"{int((~np.isfinite(committed)).sum())} numbers")
    known = history if stamp is None else history.until(stamp + SAME_STAMP)
    if not np.isfinite(history.newest):
        raise ContextError("no frame has been heard", mend="is the encoder running, on the model's own encoder?")
    if stamp is not None and abs(known.newest - stamp) > SAME_STAMP:
        raise ContextError("no frame of this stamp is held", got=f"{stamp:.6f}", allowed=f"newest {history.newest:.6f}")
    return known.seen(frames, step, committed)


class Imaginer:
    """Answers for one model; contexts of the newest questions are kept, since a search asks several times from the same one."""

    def __init__(self, model: WorldModel) -> None:
        self.model = model
        self._kept: OrderedDict[Hashable, ModelEvaluator] = OrderedDict()

    def require(self, model_hash: str) -> None:
        """Refuse to answer for another model; empty: any will do."""
        if model_hash and model_hash != self.model.hash:
            raise MismatchError("another model serves", got=model_hash, allowed=self.model.hash, mend="~/load_model, or ask for this one")

    def answer(self, question: Question, seen: Seen) -> Answer:
        """What the actions lead to from these frames."""
        if question.goal is not None:
            self._require_goal(question.goal)
        known = question.witness
        if known is not None and known.seen.shape != seen.latents.shape[1:]:
            got, allowed = tuple(known.seen.shape), str(tuple(seen.latents.shape[1:]))
            raise PlanningError("the witness saw no frame of this encoder", got=got, allowed=allowed)
        evaluator = self._evaluator(question, seen)
        some = len(question.actions) > 0
        scores = evaluator.evaluate(question.actions, "search") if some and question.goal is not None else None
        imagined = evaluator.imagine(question.actions, "search") if some and question.frames else None
        doubted = doubt(self.model, question.goal or self._nothing(seen), seen, question.actions[0]) if some and question.doubt else None
        return Answer(evaluator.distance() if question.goal is not None else None, scores, imagined, doubted)

    def _evaluator(self, question: Question, seen: Seen) -> ModelEvaluator:
        fidelity = replace(question.fidelity, steps=question.fidelity.steps or self.model.config.objective.resolved().sampling_steps)
        goal, weights = (None, None) if question.goal is None else (question.goal.latents, question.goal.weights)
        context = seen.committed, seen.actions, seen.known, seen.readings
        known = question.witness
        shown = (None, None) if known is None else (torch.from_numpy(np.append(known.way, known.arrived)), known.seen)
        parts = [_digest(part) for part in (goal, weights, *context, *shown)]
        key = (seen.stamp, len(seen.latents), *parts, question.discount, question.seed, fidelity)
        if key not in self._kept:
            aim = question.goal or self._nothing(seen)
            distance = GoalDistance(question.discount)
            self._kept[key] = ModelEvaluator(self.model, aim, distance, {"search": fidelity}, question.seed)
            self._kept[key].see(seen)
            if known is not None:
                self._kept[key].correct(known)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _require_goal(self, goal: Goal) -> None:
        own, grid = self.model.provenance, self.model.grids[0]
        goal.require_encoder(own.encoder, own.encoder_hash)
        if goal.grid != grid:
            raise GoalError("the goal is on another grid", got=f"{goal.grid[0]} x {goal.grid[1]}", allowed=f"{grid[0]} x {grid[1]}")

    def _nothing(self, seen: Seen) -> Goal:
        """A goal for those who have none: the newest frame."""
        own = self.model.provenance
        return Goal("now", seen.latents[-1], self.model.grids[0], own.encoder, own.encoder_hash, np.zeros((1, 1, 3), np.uint8))


def _digest(part: Tensor | None) -> str:
    return "" if part is None else hashlib.blake2b(part.detach().cpu().numpy().tobytes()).hexdigest()
