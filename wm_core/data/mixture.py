"""Mixing datasets: which clip is the k-th of training is a function of k and the seed alone.

That makes the proportions exact, a resumed training see what it would have seen, and the number of workers matter to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wm_core.configuration import setting
from wm_core.data.clip import Clip, ClipRequest
from wm_core.data.errors import DatasetError, EpisodeError
from wm_core.data.reader import DatasetReader
from wm_core.data.skips import Skip
from wm_core.data.split import held_out
from wm_core.errors import ConfigurationError

CYCLE = 2000  # clips after which the order of the sources repeats
ATTEMPTS = 100  # draws in a row that may meet a corrupt episode before the whole dataset counts as unreadable


@dataclass(frozen=True)
class MixtureConfig:
    """How sources are mixed and clips are drawn."""

    unlabelled_per_labelled: float = setting("Unlabelled clips for every labelled one", low=0.0, high=1e6, default=19.0)
    held_out: float = setting("Share of the episodes of every labelled source that is kept for evaluation", low=0.0, high=0.9, default=0.1)
    like_context: int = setting(
        "How many clips of one source in a row share camera role and scene; 1 draws each by itself", low=1, high=1000, default=1
    )
    seed: int = setting("What every draw comes from", low=0, high=2**31 - 1, default=0)


@dataclass(frozen=True)
class Source:
    """One dataset of a mixture. Unlabelled, its actions are hidden even where it has some; `weight` counts among sources of its kind."""

    reader: DatasetReader
    labelled: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """The k-th clip, the source it came from, and what had to be skipped on the way to it."""

    clip: Clip
    source: int
    labelled: bool
    skipped: tuple[Skip, ...]


class Mixture:
    """Clips 0, 1, 2, ... without end; from the training episodes, or from the held-out ones."""

    def __init__(self, sources: Sequence[Source], request: ClipRequest, config: MixtureConfig, evaluation: bool = False) -> None:
        self.sources, self.request, self.config = tuple(sources), request, config
        self._order = order(shares(self.sources, config.unlabelled_per_labelled))
        self._rank = np.array([int(np.sum(self._order[:place] == source)) for place, source in enumerate(self._order)])
        self._counts = np.bincount(self._order, minlength=len(self.sources))
        kept_back = [_kept_back(source.reader, self.sources, config) for source in self.sources]
        alike = config.like_context > 1
        self._pools = [_Pool(source, kept, request, alike, evaluation) for source, kept in zip(self.sources, kept_back, strict=True)]

    def source_of(self, k: int) -> int:
        return int(self._order[k % CYCLE])

    def draw(self, k: int) -> Drawn:
        """The k-th clip."""
        source = self.source_of(k)
        turn = (k // CYCLE) * int(self._counts[source]) + int(self._rank[k % CYCLE])
        skipped: list[Skip] = []
        for attempt in range(ATTEMPTS):
            generator = np.random.default_rng([self.config.seed, source, turn, attempt])
            context = np.random.default_rng([self.config.seed, source, turn // self.config.like_context, attempt])
            episode, start, role = self._pools[source].draw(context, generator)
            try:
                clip = self.sources[source].reader.clip(episode, start, self.request, role)
            except EpisodeError as error:
                skipped.append(Skip(str(self.sources[source].reader.root), episode, str(error)))
                continue
            labelled = self.sources[source].labelled
            return Drawn(clip if labelled else _hidden(clip), source, labelled, tuple(skipped))
        name = self.sources[source].reader.name
        raise DatasetError(f"{ATTEMPTS} clips of {name} in a row could not be read", got=skipped[-1].reason, mend="inspect the dataset")


class _Pool:
    """Every place in one source where a clip may begin, each equally likely."""

    def __init__(self, source: Source, kept_back: NDArray[np.bool_], request: ClipRequest, alike: bool, evaluation: bool) -> None:
        self._reader = source.reader
        counts = source.reader.start_count(request)
        self._counts = np.where(kept_back == evaluation, counts, 0)
        self._ends = np.cumsum(self._counts)
        self._roles = sorted(source.reader.config.cameras)
        self._alike = alike
        if self._counts.sum() == 0:
            got = f"{len(counts)} episodes, {int(kept_back.sum())} held out, {len(source.reader.faults)} faulty"
            raise DatasetError(f"{source.reader.name} has no clip to give", got=got, allowed=f"episodes of {request.seconds:g} s or more")

    def draw(self, context: np.random.Generator, generator: np.random.Generator) -> tuple[int, int, str]:
        """Episode, start row and camera role; camera and scene are those of the context, the clip is drawn freely among them."""
        role = self._roles[int(context.integers(len(self._roles)))]
        if not self._alike:
            role = self._roles[int(generator.integers(len(self._roles)))]
            return *_pick(self._ends, generator), role
        scenes = self._scenes
        here = scenes == scenes[_pick(self._ends, context)[0]]
        return *_pick(np.cumsum(np.where(here, self._counts, 0)), generator), role

    @cached_property
    def _scenes(self) -> NDArray[np.object_]:
        """The scene of every episode that has clips to give; one that cannot be read has its number instead, a scene that no other shares.

        Where it is drawn, reading it says why it cannot be, and the next attempt draws another context.
        """
        scenes = np.full(len(self._counts), "", dtype=object)
        for episode in np.flatnonzero(self._counts):
            try:
                scenes[episode] = self._reader.scene(int(episode))
            except EpisodeError:
                scenes[episode] = int(episode)
        return scenes


def _kept_back(reader: DatasetReader, sources: Sequence[Source], config: MixtureConfig) -> NDArray[np.bool_]:
    """Which episodes of a dataset are held out, (episodes,): those of every labelled source that reads the same folder.

    Without its actions an episode has the same pictures, so no source may train on it.
    """
    root, episodes = reader.root.resolve(), len(reader.metadata)
    names = {source.reader.name for source in sources if source.labelled and source.reader.root.resolve() == root}
    kept = np.zeros(episodes, dtype=np.bool_)
    for name in names:
        kept |= held_out(name, episodes, config.held_out, config.seed)
    return kept


def _hidden(clip: Clip) -> Clip:
    """The clip without its actions."""
    return replace(clip, actions=np.zeros_like(clip.actions), action_mask=np.zeros_like(clip.action_mask))


def _pick(ends: NDArray[np.int64], generator: np.random.Generator) -> tuple[int, int]:
    """An episode and a start row, all equally likely; `ends` are how many start rows there are up to the end of each episode."""
    place = int(generator.integers(int(ends[-1])))
    episode = int(np.searchsorted(ends, place, side="right"))
    return episode, place - (int(ends[episode - 1]) if episode else 0)


def shares(sources: Sequence[Source], unlabelled_per_labelled: float) -> NDArray[np.float64]:
    """Of all clips, the share of each source, summing to 1."""
    weights = np.array([source.weight for source in sources], dtype=np.float64)
    labelled = np.array([source.labelled for source in sources], dtype=np.bool_)
    result = np.zeros(len(weights))
    for kind, share in ((True, 1.0 / (1.0 + unlabelled_per_labelled)), (False, unlabelled_per_labelled / (1.0 + unlabelled_per_labelled))):
        here = labelled == kind
        if share > 0.0 and weights[here].sum() <= 0.0:
            word = "labelled" if kind else "unlabelled"
            mend = f"add a {word} source, or change unlabelled_per_labelled"
            raise ConfigurationError(
                f"the mixture has no {word} source", got=f"unlabelled_per_labelled: {unlabelled_per_labelled:g}", mend=mend
            )
        if share > 0.0:
            result[here] = share * weights[here] / weights[here].sum()
    return result


def order(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which source each clip of a cycle comes from, (CYCLE,): always the one that is furthest behind its share."""
    counts = np.floor(share * CYCLE).astype(np.int64)
    rest = share * CYCLE - counts
    counts[np.argsort(-rest, kind="stable")[: CYCLE - int(counts.sum())]] += 1
    credit, result = np.zeros(len(share)), np.empty(CYCLE, dtype=np.int64)
    for place in range(CYCLE):
        credit += counts / CYCLE
        result[place] = int(np.argmax(credit))
        credit[result[place]] -= 1.0
    return result
