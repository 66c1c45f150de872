"""Batches of a mixture for training, read by worker processes, that can be resumed at exactly the next clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from wm_core.data.errors import DatasetError
from wm_core.data.mixture import Drawn, Mixture
from wm_core.data.skips import Skip


@dataclass(frozen=True)
class Batch:
    """B clips of T frames."""

    frames: torch.Tensor  # (B, T, 3, H, W) uint8
    actions: torch.Tensor  # (B, T, 7): from each frame to the next
    action_mask: torch.Tensor  # (B, T) bool: whether it is known
    state: torch.Tensor  # (B, T, S); zeros where a source does not tell it
    state_mask: torch.Tensor  # (B,) bool
    labelled: torch.Tensor  # (B,) bool: whether the clip is of a labelled source
    source: torch.Tensor  # (B,) index of the source
    episode: torch.Tensor  # (B,)
    viewpoint: tuple[str, ...]
    scene: tuple[str, ...]
    skipped: tuple[Skip, ...]


class ClipStream:
    """The batches of one process of `world`; iterate as long as you like.

    `state_dict` names the batch after the last one that was handed out, whatever the workers have read ahead.
    """

    def __init__(self, mixture: Mixture, batch: int, workers: int = 0, rank: int = 0, world: int = 1) -> None:
        self._mixture, self._batch, self._workers = mixture, batch, workers
        self._rank, self._world = rank, world
        self._next = 0

    def __iter__(self) -> Iterator[Batch]:
        places = _Places(self._batch, self._rank, self._world, self._next)
        loader = DataLoader(
            _Clips(self._mixture),
            batch_sampler=places,
            num_workers=self._workers,
            collate_fn=_collate,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self._workers else None,
            multiprocessing_context="spawn" if self._workers else None,  # a fork of a process that has threads may never return
        )
        for batch in loader:
            self._next += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"next_batch": self._next, "batch": self._batch, "world": self._world, "seed": self._mixture.config.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after all batches that were handed out, by however many processes."""
        handed_out = state.get("next_batch", 0) * state.get("world", 1)
        here = self.state_dict() | {"next_batch": handed_out // self._world}
        if handed_out % self._world or any(state.get(name) != here[name] for name in ("batch", "seed")):
            raise DatasetError(
                "the stream to resume was made otherwise",
                got=state,
                allowed=str(here),
                mend="resume with the same batch and seed, by processes among which the batches until now can be shared out",
            )
        self._next = here["next_batch"]


class _Clips(Dataset[Drawn]):
    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __getitem__(self, k: int) -> Drawn:
        return self._mixture.draw(k)


class _Places(Sampler[list[int]]):
    """The numbers of the clips of each batch: processes take turns, batch by batch."""

    def __init__(self, batch: int, rank: int, world: int, first: int) -> None:
        self._batch, self._rank, self._world, self._first = batch, rank, world, first

    def __iter__(self) -> Iterator[list[int]]:
        step = self._first
        while True:
            begin = (step * self._world + self._rank) * self._batch
            yield list(range(begin, begin + self._batch))
            step += 1


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _collate(drawn: list[Drawn]) -> Batch:
    clips = [one.clip for one in drawn]
    sizes = {clip.frames.shape for clip in clips}
    if len(sizes) > 1:
        raise DatasetError(
            "clips of a batch differ in size", got=sorted(sizes), allowed="one size", mend="set preprocessing.height and width"
        )
    width = max(clip.state.shape[1] for clip in clips)
    state = np.zeros((len(clips), len(clips[0].rows), width), dtype=np.float32)
    for index, clip in enumerate(clips):
        state[index, :, : clip.state.shape[1]] = clip.state
    return Batch(
        frames=torch.from_numpy(np.stack([clip.frames for clip in clips])),
        actions=torch.from_numpy(np.stack([clip.actions for clip in clips])),
        action_mask=torch.from_numpy(np.stack([clip.action_mask for clip in clips])),
        state=torch.from_numpy(state),
        state_mask=torch.tensor([clip.state.shape[1] > 0 for clip in clips]),
        labelled=torch.tensor([one.labelled for one in drawn]),
        source=torch.tensor([one.source for one in drawn]),
        episode=torch.tensor([clip.episode for clip in clips]),
        viewpoint=tuple(clip.viewpoint for clip in clips),
        scene=tuple(clip.scene for clip in clips),
        skipped=tuple(skip for one in drawn for skip in one.skipped),
    )
