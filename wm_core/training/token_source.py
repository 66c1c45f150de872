"""Clips of latents out of a mixture's token cache: where training meets the data room."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wm_core import configuration
from wm_core.data.augmented_reader import AugmentedReader
from wm_core.data.clip import ClipRequest
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.loader import Batch, ClipStream
from wm_core.data.mixture import Mixture, Source
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip
from wm_core.data.token_cache import CachedReader, Encoder, Plan, TokenCache, folder_for
from wm_core.training import trained_on
from wm_core.training.clips import LatentClips
from wm_core.training.train_config import DataConfig
from wm_core.training.trained_on import TrainedOn
from wm_core.vision.encoder import Encoder as VisionEncoder
from wm_core.vision.load import load_encoder
from wm_core.world_model.reckoning import READING

NAMED = 5  # episodes that a line names of those that it counts


@dataclass(frozen=True)
class Copy:
    """All sources, their pictures as recorded or changed by an augmentation, and the cache of their latents."""

    readers: tuple[DatasetReader, ...]
    cache: TokenCache


@dataclass(frozen=True)
class Datasets:
    """The readers of all sources and the caches of their latents, nothing encoded yet; the first copy is as recorded."""

    config: DataConfig
    copies: tuple[Copy, ...]

    @property
    def readers(self) -> tuple[DatasetReader, ...]:
        return self.copies[0].readers

    def plan(self) -> Plan:
        plans = [copy.cache.plan(list(copy.readers)) for copy in self.copies]
        episodes, frames, size = (sum(getattr(plan, name) for plan in plans) for name in ("episodes", "frames", "bytes"))
        return Plan(episodes, frames, size, plans[0].free)

    def left_out(self, shortest: int = 0) -> list[str]:
        """What no clip can come from, as far as is known before anything is opened.

        Where a part of the training needs clips of `shortest` frames only, also how many of the short episodes are too short for those.
        """
        lines = [line for reader in self.readers for line in _left_out(reader, self.config.clip, shortest)]
        return [*dict.fromkeys(lines)]

    def fill(self, announce: Callable[[Plan], None], skipped: Callable[[Skip], None], rank: int = 0, world: int = 1) -> None:
        """Encode what is missing, shared with the other processes of `world`; `skipped` is told of what could not be read."""
        plan = self.plan()
        announce(plan)
        plan.require_room()
        for copy in self.copies:
            for skip in copy.cache.fill(list(copy.readers), lambda part: None, rank=rank, world=world):
                skipped(skip)

    def source(self, batch: int, skipped: Callable[[Skip], None], rank: int = 0, world: int = 1, evaluation: bool = False) -> TokenSource:
        """Clips of the training episodes, each from any copy, or of the held-out ones as they were recorded.

        `skipped` is told of episodes that give none, again and again.
        """
        copies = self.copies[:1] if evaluation else self.copies
        given = [(reader, copy.cache, one) for copy in copies for reader, one in zip(copy.readers, self.config.sources, strict=True)]
        sources = [Source(CachedReader(reader, cache), one.labelled, one.weight) for reader, cache, one in given]
        mixture = Mixture(sources, self.config.clip, self.config.mixture, evaluation=evaluation)
        stream = ClipStream(mixture, batch, self.config.workers, rank, world)
        names = tuple(reader.name for reader, _, _ in given)
        return TokenSource(stream, names, tuple(one.tool_state and one.labelled for _, _, one in given), skipped)

    def hash(self) -> str:
        """Of all that clips depend on beside the encoder; a part for each source, in order, with dashes between them.

        A part differs when the dataset, its description, how the source is used or what is drawn from all of them does.
        """
        config, parts = self.config, []
        augmented = config.augmentation if config.augmentation.copies else "as recorded"
        drawn = [str(one) for one in (config.clip, config.mixture, config.preprocessing, config.cache_bits, augmented)]
        for reader, one in zip(self.readers, config.sources, strict=True):
            description = json.dumps(asdict(reader.config), sort_keys=True)
            text = "\n".join([reader.metadata.fingerprint, description, f"{one.labelled} {one.weight} {one.tool_state}", *drawn])
            parts.append(blake2b(text.encode(), digest_size=8).hexdigest())
        return "-".join(parts)

    def trained_on(self) -> tuple[TrainedOn, ...]:
        """Every dataset with the share that is kept back of it: of one that is listed without labels alone nothing is."""
        mixture, pairs = self.config.mixture, list(zip(self.readers, self.config.sources, strict=True))
        split = {reader.root.resolve() for reader, one in pairs if one.labelled}
        told = [(reader, one.labelled) for reader, one in pairs if one.labelled or reader.root.resolve() not in split]
        return tuple(trained_on.of(reader, mixture.held_out if labelled else 0.0, mixture.seed) for reader, labelled in told)


def open_encoder(config: DataConfig, beside: Path, device: torch.device) -> PatchEncoder:
    """The encoder of a configuration: a path, relative to `beside`, or a published name."""
    folder = beside / Path(config.encoder).expanduser()
    return PatchEncoder(load_encoder(str(folder) if folder.exists() else config.encoder, device))


def open_datasets(config: DataConfig, beside: Path, encoder: Encoder) -> Datasets:
    """The datasets of a configuration whose relative paths begin at `beside`; each is checked against its description."""
    readers = []
    for one in config.sources:
        description = configuration.read(DatasetConfig, beside / one.description)
        readers.append(DatasetReader(beside / Path(one.root).expanduser(), description, config.preprocessing))
    return Datasets(config, tuple(_copy(config, beside, encoder, readers, number) for number in range(config.augmentation.copies + 1)))


def _copy(config: DataConfig, beside: Path, encoder: Encoder, readers: Sequence[DatasetReader], number: int) -> Copy:
    """Copy 0 is as recorded."""
    augmentation = config.augmentation.describe(number) if number else ""
    shown = tuple(AugmentedReader(reader, config.augmentation, number) if number else reader for reader in readers)
    root = beside / Path(config.cache).expanduser()
    folder = folder_for(root, encoder, config.preprocessing, config.cache_bits, augmentation)
    return Copy(shown, TokenCache(folder, encoder, config.preprocessing, config.cache_bits, augmentation))


def _left_out(reader: DatasetReader, clip: ClipRequest, shortest: int) -> list[str]:
    """By number: episodes that contradict themselves, and those that are shorter than a clip, with their share of what can be read."""
    lines = []
    if reader.faults:
        first, reason = next(iter(sorted(reader.faults.items())))
        lines.append(f"  {len(reader.faults)} episodes of {reader.root} contradict themselves, the first: {first}, {reason}")
    short, length = _short(reader, clip), reader.metadata.length
    if len(short):
        of_episodes, of_time = len(short) / len(reader.episodes), length[short].sum() / length[reader.episodes].sum()
        whose = f"{len(short)} of {len(reader.episodes)} episodes of {reader.root} ({of_episodes:.1%}, {of_time:.1%} of its time)"
        first_ones = ", ".join(map(str, short[:NAMED].tolist()))
        line = f"  {whose} are shorter than a clip of {clip.seconds:g} s and give none, the first: {first_ones}"
        if 0 < shortest < clip.frames:
            less = ClipRequest(shortest / clip.fps, clip.fps)
            line += (
                f"; with data.clip.seconds={less.seconds:g}, the shortest of the curriculum, {len(_short(reader, less))} would give none"
            )
        lines.append(line)
    return lines


def _short(reader: DatasetReader, clip: ClipRequest) -> NDArray[np.int64]:
    """The episodes that can be read and are shorter than a clip."""
    return reader.episodes[reader.start_count(clip)[reader.episodes] == 0]


class TokenSource:
    """A ClipSource over a ClipStream whose readers give tokens.

    `told` says of which sources the tool's readings are shown; `skipped` hears of every episode that a clip was looked for in vain in.
    """

    def __init__(self, stream: ClipStream, names: tuple[str, ...], told: tuple[bool, ...], skipped: Callable[[Skip], None]) -> None:
        self._stream, self._names, self._told, self._skipped = stream, names, torch.tensor(told), skipped

    def __iter__(self) -> Iterator[LatentClips]:
        return (self._clips(batch) for batch in self._stream)

    def state_dict(self) -> dict[str, int]:
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._stream.load_state_dict(state)

    def _clips(self, batch: Batch) -> LatentClips:
        for skip in batch.skipped:
            self._skipped(skip)
        ids = tuple(
            f"{self._names[source]} {episode}" for source, episode in zip(batch.source.tolist(), batch.episode.tolist(), strict=True)
        )
        known = (batch.state_mask & self._told[batch.source])[:, None].expand(batch.action_mask.shape)
        reading = functional.pad(batch.state, (0, max(0, READING - batch.state.shape[-1])))[..., :READING]
        return LatentClips(batch.frames.float(), batch.actions, batch.action_mask, batch.labelled, ids, reading, known)


class PatchEncoder:
    """A frozen encoder of the vision room as the token cache takes it: patch tokens alone."""

    def __init__(self, encoder: VisionEncoder) -> None:
        self._encoder = encoder
        self.name, self.hash, self.grid, self.dim = encoder.name, encoder.weight_hash, encoder.grid, encoder.dim

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return self._encoder(frames).patches
