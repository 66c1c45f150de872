"""Which datasets a checkpoint was trained on, and how their episodes were split, as its training wrote it down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from wm_core.data.reader import DatasetReader
from wm_core.errors import CheckpointError
from wm_core.world_model.checkpoint import Checkpoint

RECORD = "trained_on"


@dataclass(frozen=True)
class TrainedOn:
    """One dataset of a training: `folder` is where it lay, `content` its fingerprint, and the others are what decided its split.

    held_out: share of its episodes that was kept back; 0: all were trained on. An empty content or name is not known.
    """

    folder: str
    content: str
    name: str
    held_out: float
    seed: int

    def is_at(self, root: Path, content: str) -> bool:
        """Whether the dataset at `root` is this one: it lies there, or has the same episodes and files."""
        return self.folder == folder_of(root) or self.content == content


def folder_of(root: Path) -> str:
    """The resolved path as a hash: a checkpoint is given away, and where its maker's data lie need not be."""
    return blake2b(str(root.resolve()).encode(), digest_size=12).hexdigest()


def of(reader: DatasetReader, held_out: float, seed: int) -> TrainedOn:
    """A dataset of which this share is kept back."""
    return TrainedOn(folder_of(reader.root), reader.metadata.fingerprint, reader.name, held_out, seed)


def written(loaded: Checkpoint | None) -> tuple[TrainedOn, ...]:
    """What the checkpoint's trainings wrote down; nothing where they did not, or there is none."""
    if loaded is None:
        return ()
    try:
        return tuple(TrainedOn(**one) for one in loaded.records.get(RECORD, ()))
    except TypeError as error:
        raise CheckpointError(f"the checkpoint's {RECORD}.json is damaged", got=error, mend="copy the checkpoint again") from error


def told(loaded: Checkpoint, beside: Path) -> tuple[TrainedOn, ...]:
    """As `written`; of an older checkpoint what its train_config says, whose relative paths are taken to begin at `beside`."""
    found = written(loaded)
    if found:
        return found
    data: dict[str, Any] = loaded.records.get("train_config", {}).get("data", {})
    mixture = data.get("mixture", {})
    share, seed = float(mixture.get("held_out", 0.0)), int(mixture.get("seed", 0))
    sources = data.get("sources", ())
    places = [folder_of(beside / Path(one["root"]).expanduser()) for one in sources]
    shares = [share if one["labelled"] else 0.0 for one in sources]
    return tuple(TrainedOn(place, "", "", kept, seed) for place, kept in zip(places, shares, strict=True))


def record(seen: Sequence[TrainedOn]) -> list[dict[str, Any]]:
    """For a JSON file; `written` reads it back."""
    return [dataclasses.asdict(one) for one in seen]
