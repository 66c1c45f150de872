"""Candidates judged by a world model in this process."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.scores import Fidelity, Pass, Scores
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.rollout import Context
from wm_core.world_model.world_model import WorldModel


@dataclass(frozen=True)
class Seen:
    """The T newest frames, one step of the model apart, and what leads from them to the beginning of the plan.

    latents (T, P, D) as the encoder gives them; actions (T - 1, 7) that led from each to the next, and whether each is known; committed
    (C, 7): the actions that are carried out between the newest frame and the plan; readings of the tool (T, 7), where there are; stamp
    (s) of the newest frame, by which a server of the same frames knows it.
    """

    latents: Tensor
    actions: Tensor
    known: Tensor
    committed: Tensor
    readings: Tensor | None = None
    stamp: float = 0.0


class ModelEvaluator:
    """All candidates of one plan start from the frames that were seen last and share their noise."""

    def __init__(self, model: WorldModel, goal: Goal, distance: GoalDistance, fidelities: dict[Pass, Fidelity], seed: int = 0) -> None:
        goal.require_encoder(model.provenance.encoder, model.provenance.encoder_hash)
        self._model, self._distance, self._fidelities, self._seed = model, distance, fidelities, seed
        self._goal, self._weights = goal.latents, goal.weights
        self._contexts: dict[Pass, Context] = {}
        self._witness: Witness | None = None
        self._wrong: dict[Pass, Tensor] = {}
        self._seen: Seen | None = None
        self._newest = torch.empty(0)
        for name, fidelity in fidelities.items():
            if fidelity.grid >= len(model.grids):
                allowed = ", ".join(f"{index}: {grid[0]} x {grid[1]}" for index, grid in enumerate(model.grids))
                raise PlanningError("the model has no such grid", got=fidelity.grid, allowed=allowed, mend=f"{name}.grid")

    def see(self, seen: Seen) -> None:
        """Begin from these frames, and from what the actions under way will lead to."""
        self._seen = seen
        self._contexts.clear()
        self._wrong.clear()
        self._witness, self._newest = None, seen.latents[-1]

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        """Scores of candidates (N, H, 7)."""
        imagined = self.imagine(actions, fidelity)
        if self._witness is not None:
            imagined = imagined - self._off(self._witness, fidelity)[: actions.shape[1]]
        distances = self._distance.of_plans(self._frame_distances(imagined, fidelity))
        many = len(distances) > 1
        spread = distances.std(dim=0) if many else torch.zeros_like(distances[0])
        return Scores(distances.mean(dim=0).double().cpu().numpy(), spread.double().cpu().numpy())

    def correct(self, witness: Witness) -> None:
        """Take off all that is imagined from here what the witness shows it to be wrong by, until new frames are seen."""
        self._witness = witness
        self._wrong.clear()

    def imagine(self, actions: Array, fidelity: Pass) -> Tensor:
        """Raw latents (seeds, N, H, P, D) of candidates (N, H, 7) on the grid of this fidelity."""
        chosen = self._fidelities[fidelity]
        seeds = tuple(self._seed + index for index in range(chosen.seeds))
        told = torch.from_numpy(actions).float()[None]
        return self._model.imagine(self._context(fidelity), told, seeds, chosen.steps)[:, 0]

    def distance(self) -> float:
        """Of the newest frame to the goal on the grid of the search."""
        return float(self.distances(self._newest, "search"))

    def distances(self, latents: Tensor, fidelity: Pass) -> Tensor:
        """Of frames (..., P, D) as the encoder gives them, on the grid of this fidelity: (...)."""
        grid = self._model.grids[self._fidelities[fidelity].grid]
        return self._frame_distances(self._model.pooled(latents, grid), fidelity)

    def _off(self, witness: Witness, fidelity: Pass) -> Tensor:
        """What imagined frames are wrong by on the grid of this fidelity (H, P, D), the mean over its seeds."""
        if fidelity not in self._wrong:
            grid = self._model.grids[self._fidelities[fidelity].grid]
            there = replace(witness, seen=self._model.pooled(witness.seen, grid))
            self._wrong[fidelity] = there.wrong(self.imagine(witness.way[None], fidelity)[:, 0].mean(dim=0))
        return self._wrong[fidelity]

    def _context(self, fidelity: Pass) -> Context:
        """Made when it is first asked for: many plans end without a review."""
        if self._seen is None:
            raise PlanningError("nothing has been seen yet", got=fidelity, mend="see() the newest frames first")
        if fidelity not in self._contexts:
            seen, chosen = self._seen, self._fidelities[fidelity]
            frames, grid = len(seen.latents), self._model.grids[chosen.grid]
            actions, known = torch.zeros(1, frames, 7), torch.zeros(1, frames, dtype=torch.bool)
            actions[0, :-1], known[0, :-1] = seen.actions, seen.known
            told = None if seen.readings is None else seen.readings[None]
            conditioning = Conditioning(actions, known, told, None if told is None else torch.ones(1, frames, dtype=torch.bool))
            context = self._model.context(self._model.pooled(seen.latents[None], grid), conditioning, self._seed, grid)
            if len(seen.committed):
                self._model.commit(context, seen.committed[None], self._seed, chosen.steps)
            self._contexts[fidelity] = context
        return self._contexts[fidelity]

    def _frame_distances(self, latents: Tensor, fidelity: Pass) -> Tensor:
        grid = self._model.grids[self._fidelities[fidelity].grid]
        goal = self._model.normalised(self._model.pooled(self._goal[None].to(latents.device), grid)[0])
        weights = None
        if self._weights is not None:
            weights = self._model.pooled(self._weights[:, None].to(latents.device), grid)[:, 0]
        return self._distance.of_frames(self._model.normalised(latents), goal, weights)
