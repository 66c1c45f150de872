"""What the trainer asks of data: clips of latents, batch by batch, from a place that can be returned to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from wm_core.training.errors import TrainingError
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.normalisation import RunningStatistics, Statistics


@dataclass(frozen=True)
class LatentClips:
    """B clips of F frames as they were recorded, nothing normalised.

    latents (B, F, P, D) on the encoder's grid; actions (B, F, A), each applied after its frame, and whether each is known (B, F) bool;
    labelled (B,) bool; proprioception (B, F, Q) and whether it is known (B, F), or None; ids name the clips in error messages.
    """

    latents: Tensor
    actions: Tensor
    action_mask: Tensor
    labelled: Tensor
    ids: tuple[str, ...]
    proprioception: Tensor | None = None
    proprioception_mask: Tensor | None = None

    def to(self, device: torch.device) -> LatentClips:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
        return replace(self, **moved)

    def cut(self, frames: int) -> LatentClips:
        """Clips of `frames` frames each: every one here gives as many as fit into it, from its beginning on."""
        length = self.latents.shape[1]
        if frames > length:
            raise TrainingError(
                "the clips are too short to cut", got=f"{length} frames", allowed=f"at least {frames}", mend="data.clip.seconds"
            )
        pieces = length // frames

        def cut(value: Tensor) -> Tensor:
            return value[:, : pieces * frames].unflatten(1, (pieces, frames)).flatten(0, 1)

        per_frame = {name: value for name, value in vars(self).items() if isinstance(value, Tensor) and name != "labelled"}
        ids = tuple(name for name in self.ids for _ in range(pieces))
        cuts: dict[str, Any] = {name: cut(value) for name, value in per_frame.items()}
        return replace(self, labelled=self.labelled.repeat_interleave(pieces), ids=ids, **cuts)


class ClipSource(Protocol):
    """Batches without end. `state_dict` names the batch after the last one handed out; a source that loads it goes on there."""

    def __iter__(self) -> Iterator[LatentClips]: ...

    def state_dict(self) -> dict[str, int]: ...

    def load_state_dict(self, state: dict[str, int]) -> None: ...


def measure(source: ClipSource, batches: int) -> dict[str, Statistics]:
    """Statistics of latents, known actions and known proprioception over the next batches; the source stays where it was."""
    place = source.state_dict()
    running: dict[str, RunningStatistics] = {}
    for clips in islice(iter(source), batches):
        parts = {"latents": clips.latents, "actions": clips.actions[clips.action_mask]}
        if clips.proprioception is not None and clips.proprioception_mask is not None:
            parts["proprioception"] = clips.proprioception[clips.proprioception_mask]
        for name, values in parts.items():
            running.setdefault(name, RunningStatistics(values.shape[-1])).add(values)
    source.load_state_dict(place)
    if not running:
        raise TrainingError("there are no clips to measure", got=f"{batches} batches", allowed="at least one")
    return {name: part.result() if part.count > 1 else _unit(len(part.mean)) for name, part in running.items()}


def _unit(channels: int) -> Statistics:
    """For what is never known: a training without a labelled clip has no action to normalise."""
    return Statistics(torch.zeros(channels), torch.ones(channels))


def normalised(clips: LatentClips, statistics: dict[str, Statistics], proprioception_dim: int) -> tuple[Tensor, Conditioning]:
    """Latents and conditioning as the world model takes them."""
    raw = Conditioning(clips.actions, clips.action_mask, clips.proprioception, clips.proprioception_mask)
    return statistics["latents"].normalise(clips.latents), raw.normalised(statistics, proprioception_dim)
