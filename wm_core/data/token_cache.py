"""Tokens of whole datasets kept on disk, so that a frozen encoder sees every picture once.

A cache belongs to one encoder (by the hash of its weights), one preprocessing, one augmentation or none, and one number of bits, and
refuses every other. Any number of processes may fill it at once: each file is written aside and moved into place, so the worst they do to
one another is work twice.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wm_core.data import quantised
from wm_core.data.clip import Preprocessing
from wm_core.data.errors import CacheError, EpisodeError
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip

DESCRIPTION = "cache.json"
Place = tuple[DatasetReader, int, str]  # whose, episode, role of the camera


class Encoder(Protocol):
    """What turns pictures into tokens; frozen, so that its hash says all about it."""

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def grid(self) -> tuple[int, int]: ...

    @property
    def dim(self) -> int: ...

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) uint8 -> tokens (B, P, D) with P = grid height x width."""
        ...


@dataclass(frozen=True)
class Plan:
    """What filling a cache will cost, known before it begins."""

    episodes: int
    frames: int
    bytes: int
    free: int

    def text(self) -> str:
        return f"{self.episodes} videos, {self.frames} frames, {self.bytes / 1e9:.2f} GB to write, {self.free / 1e9:.2f} GB free"

    def require_room(self) -> None:
        """Refuse to begin what the disk cannot hold."""
        if self.bytes > self.free:
            mend = "make room, choose 8 bits, fewer augmented copies or a smaller grid, or place the cache elsewhere"
            raise CacheError("the tokens do not fit on the disk", got=self.text(), mend=mend)


class TokenCache:
    """A folder of tokens. Made when it is not there; opened when it is of the same encoder, preprocessing, augmentation and bits."""

    def __init__(self, folder: Path, encoder: Encoder, preprocessing: Preprocessing, bits: int = 8, augmentation: str = "") -> None:
        if bits not in quantised.TYPES:
            raise CacheError("tokens cannot be kept in that many bits", got=bits, allowed="8 or 16")
        self.folder, self.bits = folder, bits
        self._encoder, self._preprocessing = encoder, preprocessing
        self._claim(_describe(encoder, preprocessing, bits, augmentation))

    def __getstate__(self) -> dict[str, Any]:
        """Copies in worker processes read; they have no use for the encoder."""
        return vars(self) | {"_encoder": None}

    def plan(self, readers: list[DatasetReader]) -> Plan:
        """What is still missing of all episodes of `readers`, seen by all their cameras."""
        missing = [self._missing(reader) for reader in readers]
        frames = [int(reader.metadata.length[episode]) for reader, places in zip(readers, missing, strict=True) for episode, _ in places]
        patches = self._encoder.grid[0] * self._encoder.grid[1]
        size = sum(quantised.file_size(count, patches, self._encoder.dim, self.bits) for count in frames)
        return Plan(len(frames), sum(frames), size, shutil.disk_usage(self.folder).free)

    def fill(
        self, readers: list[DatasetReader], announce: Callable[[Plan], None], batch: int = 64, rank: int = 0, world: int = 1
    ) -> list[Skip]:
        """Encode what is missing; `announce` is told the cost before the first picture is read. Returns what could not be read.

        Of `world` processes that fill it at once each begins with its own part, by its `rank`, and leaves out what another has made.
        Whoever returns has seen to all of it, so that none need wait for another.
        """
        plan = self.plan(readers)
        announce(plan)
        plan.require_room()
        for reader in readers:
            self._compare(reader)
        skipped = []
        missing = [(reader, *place) for reader in readers for place in self._missing(reader)]
        for reader, episode, role in _turn(missing, rank, world):
            path = self._path(reader, episode, role)
            if path.exists():
                continue
            try:
                tokens = self._encode(reader, episode, role, batch)
            except EpisodeError as error:
                skipped.append(Skip(str(reader.root), episode, str(error)))
                continue
            quantised.write(path, tokens, self.bits)
        return skipped

    def tokens(self, reader: DatasetReader, episode: int, rows: NDArray[np.int64], role: str) -> NDArray[np.float32]:
        """The tokens (T, P, D) of some rows of an episode; an episode that the cache lacks is an EpisodeError."""
        path = self._path(reader, episode, role)
        if not path.exists():
            raise EpisodeError("the token cache lacks an episode", got=f"{reader.name} {episode}, {role}", mend="fill the cache")
        return quantised.read(path, rows)

    def _encode(self, reader: DatasetReader, episode: int, role: str, batch: int) -> NDArray[np.float32]:
        parts = []
        for start in range(0, int(reader.metadata.length[episode]), batch):
            rows = np.arange(start, min(start + batch, int(reader.metadata.length[episode])))
            with torch.inference_mode():
                tokens = self._encoder.encode(torch.from_numpy(reader.frames(episode, rows, role)))
            parts.append(tokens.float().cpu().numpy())
        joined = np.concatenate(parts)
        expected = (self._encoder.grid[0] * self._encoder.grid[1], self._encoder.dim)
        if joined.shape[1:] != expected:
            raise CacheError("the encoder does not give what it says", got=joined.shape[1:], allowed=str(expected))
        return joined

    def _missing(self, reader: DatasetReader) -> list[tuple[int, str]]:
        places = [(int(episode), role) for episode in reader.episodes for role in reader.config.cameras]
        return [place for place in places if not self._path(reader, *place).exists()]

    def _path(self, reader: DatasetReader, episode: int, role: str) -> Path:
        """By the camera's column and not by its role: a description may say tomorrow that another camera has that role."""
        column = reader.config.cameras[role]
        return self.folder / f"{reader.name}-{reader.metadata.fingerprint}" / column / f"{episode:06d}.tokens"

    def _compare(self, reader: DatasetReader) -> None:
        if reader.preprocessing != self._preprocessing:
            got, allowed = reader.preprocessing.describe(), self._preprocessing.describe()
            raise CacheError("the reader prepares pictures otherwise than the cache", got=got, allowed=allowed)

    def _claim(self, wanted: dict[str, Any]) -> None:
        """Write the description, or compare with the one that is there; two processes may do so at once."""
        path = self.folder / DESCRIPTION
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                growing = path.with_name(f".{DESCRIPTION}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
                growing.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
                try:
                    os.link(growing, path)
                except FileExistsError:
                    pass  # another process was first; its description is compared below
                finally:
                    growing.unlink()
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CacheError("the token cache cannot be opened", got=f"{path}: {error}") from error
        differing = [key for key in wanted | found if found.get(key) != wanted.get(key)]
        if differing:
            got = ", ".join(f"{key} {found.get(key)}" for key in differing)
            allowed = ", ".join(f"{key} {wanted.get(key)}" for key in differing)
            raise CacheError(f"the token cache at {self.folder} was made otherwise", got=got, allowed=allowed, mend="use another folder")


class CachedReader(DatasetReader):
    """A reader whose clips hold tokens (T, P, D) where the others hold pictures."""

    def __init__(self, reader: DatasetReader, cache: TokenCache) -> None:
        super().__init__(reader.root, reader.config, reader.preprocessing)
        self._cache = cache

    def frames(self, episode: int, rows: NDArray[np.int64], role: str) -> NDArray[Any]:
        self._camera(role)
        return self._cache.tokens(self, episode, rows, role)


def _turn(places: list[Place], rank: int, world: int) -> list[Place]:
    """All places in the order of one process: its own part, then the others' from their ends, where they themselves come last."""
    first, last = len(places) * rank // world, len(places) * (rank + 1) // world
    return places[first:last] + (places[last:] + places[:first])[::-1]


def folder_for(root: Path, encoder: Encoder, preprocessing: Preprocessing, bits: int = 8, augmentation: str = "") -> Path:
    """A folder under `root` that no other encoder, preprocessing, augmentation or number of bits would get."""
    key = blake2b(json.dumps(_describe(encoder, preprocessing, bits, augmentation), sort_keys=True).encode(), digest_size=6).hexdigest()
    return root / f"{encoder.name.replace('/', '-')}-{key}"


def _describe(encoder: Encoder, preprocessing: Preprocessing, bits: int, augmentation: str) -> dict[str, Any]:
    told = {"augmentation": augmentation} if augmentation else {}
    return {
        "format": 1,
        "encoder": encoder.name,
        "hash": encoder.hash,
        "grid": list(encoder.grid),
        "dim": encoder.dim,
        "preprocessing": preprocessing.describe(),
        "bits": bits,
        **told,
    }
