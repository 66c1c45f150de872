"""How much of the world's state survives in imagined frames: linear probes fitted on true tokens read them, in cm and degrees.

The same probe reads the true frame and the last frame that was seen. What it misses on the true frame is the encoder's and the probe's
fault; what it misses more on the imagined one is the model's; and a model that does no better than the last frame knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.errors import EpisodeError
from wm_core.data.reader import DatasetReader
from wm_core.evaluation.bootstrap import Estimate, statistic
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.held_out import HeldOut
from wm_core.evaluation.true_states import states_of
from wm_core.robot import rotation
from wm_core.vision.linear_probe import LinearProbe, fit_probe

Numbers = NDArray[np.float64]
BATCH = 256  # pictures that are encoded at once
DRAWS = 300
MOVED = 0.02  # metres: what went further since the last seen frame has moved
FEWEST = 8  # clips in which a thing moved, below which nothing is said of it


@dataclass(frozen=True)
class StateProbeConfig:
    """What the probes are fitted to: a set whose columns tell where things truly were, and which no clip is tested on."""

    root: str = setting("Directory of a training set with the poses of things")
    description: str = setting("YAML that says what its columns mean, relative to this file")
    frames: int = setting("Frames that the probes are fitted to, evenly picked", low=10, high=1_000_000, default=4000)


@dataclass(frozen=True)
class StateProbe:
    """Reads the positions (m) of all things and the turn (rad) of the first of them, the tool, from a token grid."""

    names: tuple[str, ...]
    places: LinearProbe
    turn: LinearProbe

    def errors(self, tokens: Tensor, poses: Tensor) -> Numbers:
        """Tokens (N, P, D) and true poses (N, things, 6) -> errors (N, things + 1): cm of each thing, then degrees of the tool."""
        read = self.places(tokens).reshape(len(tokens), len(self.names), 3)
        distance = 100.0 * (read - poses[..., :3].double()).norm(dim=-1).numpy()
        turns = zip(self.turn(tokens).numpy(), poses[:, 0, 3:].double().numpy(), strict=True)
        return np.concatenate([distance, [[np.degrees(_angle(one, other))] for one, other in turns]], axis=1)

    def quantities(self) -> tuple[str, ...]:
        """What the columns of `errors` are."""
        return (*(f"{name}, cm" for name in self.names), f"{self.names[0]}, degrees")


@dataclass(frozen=True)
class StateError:
    """The median error of one quantity at one horizon: read from the imagined frame, the true one, and the last one seen."""

    quantity: str
    horizon: int
    clips: int
    imagined: Estimate
    true: Estimate
    copied: Estimate


@dataclass(frozen=True)
class StateErrors:
    """Medians over so many clips, and for things that mostly lie still also over those clips alone in which they moved.

    truth: for each thing the column of the set that counts as where it was.
    """

    clips: int
    errors: tuple[StateError, ...]
    truth: dict[str, str] = field(default_factory=dict)


def probe_states(
    config: StateProbeConfig,
    beside: Path,
    encode: Callable[[Tensor], Tensor],
    clips: HeldOut,
    reader: DatasetReader,
    tested: NDArray[np.int64],
    imagined: Tensor,
    horizons: tuple[int, ...],
) -> StateErrors | None:
    """Of imagined frames (B, H, P, D) of held-out clips of `reader`, raw; None where that set does not tell where things were.

    `encode` turns pictures (B, 3, H, W) uint8 into tokens (B, P, D); no probe is fitted to the episodes `tested` of that set; horizons
    beyond H are left out.
    """
    truth = states_of(reader)
    if truth is None:
        return None
    probe = _fitted(config, beside, encode, clips.role, reader, tested)
    if probe.names != truth.names:
        raise EvaluationError("the sets tell of other things", got=truth.names, allowed=str(probe.names), mend="states.root")
    horizons = tuple(horizon for horizon in horizons if horizon <= imagined.shape[1])
    ahead, now, latents = torch.tensor(horizons), clips.context - 1, clips.latents
    poses = torch.from_numpy(np.stack([truth.at(int(episode), rows) for episode, rows in zip(clips.episodes, clips.rows, strict=True)]))
    frames = Frames(imagined[:, ahead - 1], latents[:, now + ahead], latents[:, now], poses[:, now + ahead], poses[:, now])
    return replace(measure(probe, horizons, frames, clips.episodes), truth=truth.columns)


def _fitted(
    config: StateProbeConfig,
    beside: Path,
    encode: Callable[[Tensor], Tensor],
    role: str,
    judged: DatasetReader,
    tested: NDArray[np.int64],
) -> StateProbe:
    """The probe of a training set, whose pictures are brought to size as those of the set that is `judged`.

    Where it is that very set, the episodes that are `tested` are left out; so is one that cannot be read.
    """
    root = beside / Path(config.root).expanduser()
    reader = DatasetReader(root, configuration.read(DatasetConfig, beside / config.description), judged.preprocessing)
    truth = states_of(reader)
    if truth is None:
        mend = "give states.root a set of `wm collect`, or leave the section out"
        raise EvaluationError(f"{root} does not tell where the tool was", allowed="columns named tool.x .. tool.turn_z", mend=mend)
    same = root.resolve() == judged.root.resolve() or reader.metadata.fingerprint == judged.metadata.fingerprint
    usable = np.setdiff1d(reader.episodes, tested) if same else reader.episodes
    if len(usable) == 0:
        got, allowed = f"{root}, of which every episode is tested on", "a set that is not tested on, or one of which a share is held out"
        raise EvaluationError("no episode is left to fit state probes to", got=got, allowed=allowed, mend="change states.root")
    spacing = max(1, int(reader.metadata.length[usable].sum()) // config.frames)
    tokens, poses, episodes = [], [], []
    for episode in usable.tolist():
        rows = np.arange(episode % spacing, reader.metadata.length[episode], spacing)
        try:
            pictures = torch.from_numpy(reader.frames(episode, rows, role))
            poses.append(torch.from_numpy(truth.at(episode, rows)))
        except EpisodeError:
            continue
        tokens += [encode(part) for part in pictures.split(BATCH)]
        episodes.append(torch.full((len(rows),), episode))
    return fit(torch.cat(tokens), torch.cat(poses), torch.cat(episodes), truth.names)


def fit(tokens: Tensor, poses: Tensor, episodes: Tensor, names: tuple[str, ...]) -> StateProbe:
    """From true tokens (N, P, D) of training episodes (N,), with the poses (N, things, 6) of the things of these names."""
    places = fit_probe(tokens, poses[..., :3].flatten(1), episodes)
    return StateProbe(names, places, fit_probe(tokens, poses[:, 0, 3:], episodes))


@dataclass(frozen=True)
class Frames:
    """Of C clips at n horizons: imagined and true tokens (C, n, P, D) with the poses (C, n, things, 6) of then; and those now."""

    imagined: Tensor
    true: Tensor
    last: Tensor  # (C, P, D)
    poses: Tensor
    poses_now: Tensor  # (C, things, 6)


def measure(probe: StateProbe, horizons: tuple[int, ...], frames: Frames, episodes: NDArray[np.int64]) -> StateErrors:
    """Read all three kinds of frames of clips of these episodes (C,)."""
    found: list[StateError] = []
    moved = (frames.poses - frames.poses_now[:, None])[..., :3].norm(dim=-1).numpy() > MOVED
    everywhere = np.ones(len(episodes), dtype=np.bool_)
    for index, horizon in enumerate(horizons):
        tokens = frames.imagined[:, index], frames.true[:, index], frames.last
        errors = np.stack([probe.errors(one, frames.poses[:, index]) for one in tokens])
        for column, quantity in enumerate(probe.quantities()):
            found.append(_medians(quantity, horizon, errors[..., column], episodes, everywhere))
        for thing, name in enumerate(probe.names[1:], start=1):
            if moved[:, index, thing].sum() >= FEWEST:
                found.append(_medians(f"{name} that moved, cm", horizon, errors[..., thing], episodes, moved[:, index, thing]))
    return StateErrors(len(episodes), tuple(sorted(found, key=lambda error: error.quantity)))


def _medians(quantity: str, horizon: int, errors: Numbers, episodes: NDArray[np.int64], where: NDArray[np.bool_]) -> StateError:
    """Of errors (3, C) on imagined, true and last frames, in the clips `where` (C,)."""
    estimates = (statistic(one[where], episodes[where], _median, draws=DRAWS) for one in errors)
    return StateError(quantity, horizon, int(where.sum()), *estimates)


def _angle(one: Numbers, other: Numbers) -> float:
    """The angle between two rotation vectors (3,), rad."""
    return float(np.linalg.norm(rotation.vector(rotation.matrix(one) @ rotation.matrix(other).T)))


def _median(values: Numbers) -> float:
    return float(np.median(values))
