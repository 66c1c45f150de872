"""Clips of episodes that no training saw, in latents, as they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core.data.clip import Clip, ClipRequest
from wm_core.data.errors import EpisodeError
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip
from wm_core.evaluation.errors import EvaluationError
from wm_core.world_model.conditioning import Conditioning

Whole = NDArray[np.int64]
Stored = Callable[[int, Whole], NDArray[Any]]
"""An episode and some of its rows (T,) -> their latents (T, P, D)."""


@dataclass(frozen=True)
class HeldOut:
    """B clips of `context` seen frames and H to come, nothing normalised.

    actions (B, C + H, A), each applied after its frame, and whether each is known, bool; state (B, C + H, Q), or None where the dataset
    tells none; episodes (B,) and rows (B, C + H) say where each frame was recorded. Frame C - 1 is the last one seen, frame C - 1 + h the
    one at horizon h. `stored` tells latents: thousands of clips of a large encoder would fill the memory.
    """

    stored: Stored
    actions: Tensor
    known: Tensor
    state: Tensor | None
    episodes: Whole
    rows: Whole
    context: int
    dataset: str
    role: str

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def horizon(self) -> int:
        return self.rows.shape[1] - self.context

    @property
    def latents(self) -> Tensor:
        """(B, C + H, P, D) float32 on the encoder's grid, read anew whenever they are asked for; ask a batch, not all clips."""
        found = [self.stored(int(episode), rows) for episode, rows in zip(self.episodes, self.rows, strict=True)]
        return torch.from_numpy(np.stack(found)).float()

    def part(self, chosen: Whole | slice) -> HeldOut:
        """Some of the clips."""
        tensors: dict[str, Any] = {name: value[chosen] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, episodes=self.episodes[chosen], rows=self.rows[chosen], **tensors)

    def until(self, horizon: int) -> HeldOut:
        """The same clips, cut after this horizon."""
        frames = self.context + min(horizon, self.horizon)
        cut: dict[str, Any] = {name: value[:, :frames] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, rows=self.rows[:, :frames], **cut)

    def batches(self, size: int) -> Iterator[HeldOut]:
        return (self.part(slice(start, start + size)) for start in range(0, len(self), size))

    def unlabelled(self) -> HeldOut:
        """The same clips as pictures alone: every action and state hidden."""
        return replace(self, actions=torch.zeros_like(self.actions), known=torch.zeros_like(self.known), state=None)

    def seen(self, proprioception: int) -> Conditioning:
        """What is known of the context frames, raw, with the first so many numbers of the state; 0: the model has no use for it."""
        actions, known = self.actions[:, : self.context], self.known[:, : self.context]
        if not proprioception or self.state is None:
            return Conditioning(actions, known)
        return Conditioning(actions, known, self.state[:, : self.context, :proprioception], torch.ones_like(known))


@dataclass(frozen=True)
class Request:
    """Which clips to read: so many of `context` + at most `horizon` frames at this rate, drawn with a seed."""

    clips: int
    context: int
    horizon: int
    fps: float
    seed: int

    def rows(self, rate: float) -> int:
        """Rows that an episode needs for one clip of the whole horizon, recorded at `rate` (Hz)."""
        return ClipRequest((self.context + self.horizon) / self.fps, self.fps).span(rate)


def read(reader: DatasetReader, role: str, request: Request, only: Whole | None = None) -> tuple[HeldOut, list[Skip]]:
    """Clips of a reader of tokens (a CachedReader), and the episodes that could not be read; `only` these episodes.

    Every episode gives one clip before any gives a second. Where most episodes are too short for the horizon, it is the longest that fits.
    """
    allowed = reader.episodes if only is None else np.intersect1d(reader.episodes, only)
    clip = _longest(reader, request, reader.metadata.length[allowed])
    places = _places(reader.start_count(clip), allowed, np.random.default_rng([11, request.seed]))
    clips, skipped = list[Clip](), dict[int, str]()
    for episode, start in places:
        if len(clips) == request.clips:
            break
        if episode in skipped:
            continue
        try:
            # Read whole, so that what cannot be read is known now; the latents are read again when they are needed.
            clips.append(replace(reader.clip(episode, start, clip, role), frames=np.zeros(0, dtype=np.float32)))
        except EpisodeError as error:
            skipped[episode] = str(error)
    if not clips:
        raise EvaluationError(
            f"no clip of {reader.name} can be read", got=next(iter(skipped.values()), "nothing"), mend="inspect the dataset"
        )
    skips = [Skip(str(reader.root), episode, reason) for episode, reason in skipped.items()]
    return _stacked(clips, request.context, lambda episode, rows: reader.frames(episode, rows, role)), skips


def _longest(reader: DatasetReader, request: Request, lengths: Whole) -> ClipRequest:
    """The longest clip, up to the horizon asked for, that fits into half of the episodes or more."""
    for horizon in range(request.horizon, 0, -1):
        clip = ClipRequest((request.context + horizon) / request.fps, request.fps)
        if len(lengths) and np.mean(lengths >= clip.span(reader.metadata.fps)) >= 0.5:
            return clip
    got = f"{len(lengths)} episodes, at most {int(lengths.max(initial=0))} rows"
    raise EvaluationError(f"{reader.name} has no clip to evaluate on", got=got, allowed=f"more than {request.context} rows")


def _places(counts: Whole, allowed: Whole, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Episode and start row of every possible clip: the episodes in random order, each with a random start, then each with its next."""
    rounds = []
    for episode in generator.permutation(allowed):
        rounds += [(turn, int(episode), int(start)) for turn, start in enumerate(generator.permutation(int(counts[episode])))]
    return [(episode, start) for _, episode, start in sorted(rounds, key=lambda place: place[0])]


def _stacked(clips: list[Clip], context: int, stored: Stored) -> HeldOut:
    state = None if clips[0].state.shape[1] == 0 else torch.from_numpy(np.stack([clip.state for clip in clips]))
    return HeldOut(
        stored=stored,
        actions=torch.from_numpy(np.stack([clip.actions for clip in clips])),
        known=torch.from_numpy(np.stack([clip.action_mask for clip in clips])),
        state=state,
        episodes=np.array([clip.episode for clip in clips], dtype=np.int64),
        rows=np.stack([clip.rows for clip in clips]),
        context=context,
        dataset=clips[0].dataset,
        role=clips[0].viewpoint,
    )
