"""A LeRobot dataset that grows by one episode at a time, and is whole at any moment.

The episode is added to a twin of the dataset, whose videos and tables are hard links and whose metadata are copies; the finished twin takes
the dataset's place. A process that is killed leaves the dataset as it was, or with the episode: `mended` puts it back where the kill came
between the two renames. meta/recording.json keeps what a person said of each episode, and from which journal it came.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wm_core.data import metadata
from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.journal import write_whole
from wm_core.data.lerobot_writer import AGE, STAMP, VALID, Layout, VideoSettings, append, created, resumed

RECORD = Path("meta") / "recording.json"
Said = dict[str, Any]


def grow(root: Path, episode: Episode, layout: Layout, video: VideoSettings, said: Said) -> int:
    """Add an episode to the dataset at `root`, which is made if it is not there; returns the episode's index."""
    mended(root)
    check_layout(root, layout)
    records = labels(root)

    def add(twin: Path) -> None:
        dataset = resumed(twin, video) if root.exists() else created(twin, layout, video)
        append(dataset, episode, layout)
        dataset.finalize()
        write_whole(twin / RECORD, [*records, said])

    _replace(root, add)
    return len(records)


def relabel(root: Path, index: int, said: Said) -> None:
    """Change what was said of an episode; only the keys that are given."""
    records = labels(root)
    if not 0 <= index < len(records):
        raise DatasetError("there is no such episode", got=index, allowed=f"0 .. {len(records) - 1}" if records else "none is there yet")
    records[index] = records[index] | said
    write_whole(root / RECORD, records)


def labels(root: Path) -> list[Said]:
    """What was said of each episode, by its index; an empty saying where somebody else recorded it."""
    if not root.exists():
        return []
    total = len(metadata.load(root))
    try:
        known = list(json.loads((root / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = []
    except (OSError, ValueError) as error:
        raise DatasetError(f"{root / RECORD} cannot be read", got=error, mend="correct or remove it") from error
    return [*known, *({} for _ in range(total - len(known)))][:total]


def check_layout(root: Path, layout: Layout) -> None:
    """Refuse to add rows of another rate, other cameras or other columns."""
    if not root.exists():
        return
    information = metadata.load(root)
    wanted = {name: tuple(feature["shape"]) for name, feature in layout.features().items()}
    ours = set(wanted)
    own = {
        name: tuple(feature["shape"]) for name, feature in information.features.items() if name in ours or name.startswith("observation.")
    }
    differing = sorted(name for name in own.keys() | wanted.keys() if own.get(name) != wanted.get(name))
    if information.fps != layout.fps or differing:
        got = ", ".join(f"{name} {wanted.get(name, 'none')}" for name in differing) or f"{layout.fps} rows per second"
        allowed = ", ".join(f"{name} {own.get(name, 'none')}" for name in differing) or f"{information.fps:g}"
        raise DatasetError(f"the dataset {root} is laid out otherwise", got=got, allowed=allowed, mend="record into another dataset")


def mended(root: Path) -> None:
    """Put the dataset back where a kill came between taking the old one away and putting the new one there; remove what is half made."""
    old, twin = _aside(root, "before"), _aside(root, "growing")
    if old.exists() and not root.exists():
        old.rename(root)
    for rest in (old, twin):
        shutil.rmtree(rest, ignore_errors=True)


def _replace(root: Path, change: Callable[[Path], None]) -> None:
    """Let `change` work on a twin of the dataset, which then takes its place."""
    twin, old = _aside(root, "growing"), _aside(root, "before")
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        if root.exists():
            shutil.copytree(root, twin, copy_function=_linked)
        change(twin)
    except BaseException:
        shutil.rmtree(twin, ignore_errors=True)
        raise
    if root.exists():
        os.rename(root, old)
    os.rename(twin, root)
    shutil.rmtree(old, ignore_errors=True)


def _aside(root: Path, what: str) -> Path:
    return root.with_name(f".{root.name}.{what}")


def _linked(source: str, target: str) -> str:
    """A hard link to what is only ever read; a copy of what the package rewrites."""
    path = Path(source)
    if path.suffix == ".mp4" or (path.suffix == ".parquet" and "data" in path.parts):
        try:
            Path(target).hardlink_to(path)
        except OSError:
            shutil.copy2(source, target)
        return target
    return str(shutil.copy2(source, target))


__all__ = ["AGE", "STAMP", "VALID", "Said", "check_layout", "grow", "labels", "mended", "relabel"]
