"""Imagined futures of held-out clips, and how far they are from the real ones, clip by clip: what every metric is made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.held_out import HeldOut, Whole
from wm_core.world_model.conditioning import Conditioning

Grid = tuple[int, int]
Numbers = NDArray[np.float64]
GRIPPER = 6  # from here on an action holds openings, where standing still means keeping them


class Imaginer(Protocol):
    """What is asked of a model; a WorldModel is one."""

    @property
    def proprioception(self) -> int: ...

    def pooled(self, latents: Tensor, grid: Grid) -> Tensor: ...

    def normalised(self, latents: Tensor) -> Tensor: ...

    def context(self, latents: Tensor, conditioning: Conditioning, seed: int = 0, grid: Grid | None = None) -> Any: ...

    def imagine(
        self, context: Any, actions: Tensor, seeds: tuple[int, ...] = (0,), steps: int | None = None, known: Tensor | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Draw:
    """How futures are drawn: so many seeds, K sampling steps, on which grid, so many futures at once."""

    seeds: int
    steps: int
    grid: Grid
    at_once: int = 256


@dataclass(frozen=True)
class Sequences:
    """N action sequences for each of B clips: actions (B, N, H, A) and whether each is known (B, N, H) bool."""

    actions: Tensor
    known: Tensor

    def and_also(self, other: Sequences) -> Sequences:
        return Sequences(torch.cat([self.actions, other.actions], dim=1), torch.cat([self.known, other.known], dim=1))

    def part(self, chosen: Whole | slice) -> Sequences:
        return Sequences(self.actions[chosen], self.known[chosen])


@dataclass(frozen=True)
class ClipErrors:
    """Per clip, sequence and horizon (B, N, H), in normalised latents of the real future.

    model: squared error of the mean over seeds; single: of one seed; spread: RMS deviation between seeds; apart: squared distance of the
    mean from that of the clip's first sequence. copy (B, H): squared error of the last frame that was seen. All are means over P x D.
    """

    model: Numbers
    single: Numbers
    spread: Numbers
    apart: Numbers
    copy: Numbers
    episodes: Whole

    def part(self, chosen: Whole | slice) -> ClipErrors:
        """Some of the clips."""
        return ClipErrors(**{name: value[chosen] for name, value in vars(self).items()})


def recorded(clips: HeldOut) -> Sequences:
    """The one sequence that each clip's future came from."""
    future = slice(clips.context - 1, clips.context - 1 + clips.horizon)
    return Sequences(clips.actions[:, None, future], clips.known[:, None, future])


def swapped(clips: HeldOut, seed: int) -> Sequences:
    """For each clip the actions that belong to a clip of another episode."""
    return recorded(clips).part(others(clips.episodes, seed))


def still(clips: HeldOut) -> Sequences:
    """No motion, and the gripper as it was last commanded."""
    own = recorded(clips)
    actions = torch.zeros_like(own.actions)
    actions[..., GRIPPER:] = clips.actions[:, None, clips.context - 2 : clips.context - 1, GRIPPER:]
    return Sequences(actions, torch.ones_like(own.known))


def unknown(clips: HeldOut) -> Sequences:
    """Nothing is known of what the arm will do."""
    own = recorded(clips)
    return Sequences(torch.zeros_like(own.actions), torch.zeros_like(own.known))


def others(episodes: Whole, seed: int) -> Whole:
    """For each clip the index of one of another episode, each index once."""
    names, sizes = np.unique(episodes, return_counts=True)
    if 2 * sizes.max() > len(episodes):
        got = f"{int(sizes.max())} of {len(episodes)} clips"
        raise EvaluationError("one episode has too many of the clips to swap actions", got=got, allowed="at most half")
    rank = dict(zip(names.tolist(), np.random.default_rng([13, seed]).permutation(len(names)).tolist(), strict=True))
    grouped = np.argsort([rank[int(episode)] for episode in episodes], kind="stable")
    result = np.empty(len(episodes), dtype=np.int64)
    result[grouped] = np.roll(grouped, int(sizes.max()))
    return result


def futures(model: Imaginer, clips: HeldOut, sequences: Sequences, draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch by batch in their order: the clips' latents (b, C + H, P, D), and raw futures (seeds, b, N, H, P', D) where the model is."""
    size = max(1, draw.at_once // (draw.seeds * sequences.actions.shape[1]))
    for start, batch in zip(range(0, len(clips), size), clips.batches(size), strict=True):
        latents = batch.latents
        seen = model.pooled(latents[:, : clips.context], draw.grid)
        context = model.context(seen, batch.seen(model.proprioception), grid=draw.grid)
        chosen = sequences.part(slice(start, start + size))
        yield latents, model.imagine(context, chosen.actions, tuple(range(draw.seeds)), draw.steps, chosen.known)


def measure(model: Imaginer, clips: HeldOut, sequences: Sequences, draw: Draw) -> ClipErrors:
    """Imagine all clips and compare each with what came."""
    now = clips.context - 1
    parts = [_compare(model, latents[:, now:], raw, draw.grid) for latents, raw in futures(model, clips, sequences, draw)]
    joined = {name: torch.cat([part[name] for part in parts]).double().cpu().numpy() for name in parts[0]}
    return ClipErrors(**joined, episodes=clips.episodes)


def _compare(model: Imaginer, came: Tensor, raw: Tensor, grid: Grid) -> dict[str, Tensor]:
    """Raw futures with the latents (b, 1 + H, P, D) from the last seen frame on."""
    if not torch.isfinite(raw).all():
        got = f"{int((~torch.isfinite(raw)).sum())} numbers"
        raise EvaluationError("imagined latents are not finite", got=got, mend="train again; this checkpoint diverged")
    imagined = model.normalised(raw)
    real = model.normalised(model.pooled(came.to(imagined.device), grid))
    future, mean = real[:, None, 1:], imagined.mean(0)
    return {
        "model": _square(mean - future),
        "single": _square(imagined - future).mean(0),
        "spread": imagined.var(0).mean((-2, -1)).sqrt() if len(imagined) > 1 else torch.zeros(mean.shape[:3], device=mean.device),
        "apart": _square(mean - mean[:, :1]),
        "copy": _square(real[:, 1:] - real[:, :1]),
    }


def _square(difference: Tensor) -> Tensor:
    return difference.square().mean((-2, -1))
