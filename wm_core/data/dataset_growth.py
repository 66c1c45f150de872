"""A LeRobot dataset that grows by one episode at a time, and is whole at any moment.

The episode is added to a twin of the dataset, whose videos and tables are hard links and whose metadata are copies; the finished twin
changes places with the dataset in one step. A process that is killed leaves the dataset as it was, or with the episode. Processes that
change it take turns. meta/recording.json keeps what a person said of each episode, and from which journal it came; success, robot and
workspace also stand in meta/episodes, where readers of LeRobot find them.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from wm_core.data import metadata
from wm_core.data.dataset_tasks import set_task
from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.journal import write_whole
from wm_core.data.lerobot_writer import Layout, VideoSettings, append, created, resumed
from wm_core.data.storage import writing

RECORD = Path("meta") / "recording.json"
TOLD = ("success", "robot", "workspace")  # what stands in meta/episodes too; the task is there by itself
NUMBER = "number"  # that the recorder answered for an episode; its index is another where an episode before it was not exported
COUNTED = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # columns that the package fills in by itself
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h
Said = dict[str, Any]


def grow(root: Path, episode: Episode, layout: Layout, video: VideoSettings, said: Said) -> int:
    """Add an episode to the dataset at `root`, which is made if it is not there; returns the episode's index."""
    with _turn(root):
        _mend(root)
        check_layout(root, layout)
        records = labels(root)

        def add(twin: Path) -> None:
            dataset = resumed(twin, video) if root.exists() else created(twin, layout, video)
            append(dataset, episode, layout)
            dataset.finalize()
            keep(twin, [*records, said])

        _replace(root, add)
        return len(records)


def relabel(root: Path, index: int, said: Said) -> None:
    """Change what was said of an episode; only the keys that are given. A task changes in the rows and tables too."""
    with _turn(root):
        _mend(root)
        metadata.read_info(root)  # which says that there is no dataset, where there is none
        records = labels(root)
        if not 0 <= index < len(records):
            raise DatasetError("there is no such episode", got=index, allowed=f"0 .. {len(records) - 1}")
        records[index] = records[index] | said

        def change(twin: Path) -> None:
            if said.get("task"):
                set_task(twin, index, said["task"])
            keep(twin, records)

        _replace(root, change)


def keep(root: Path, records: list[Said]) -> None:
    """Write what was said of each episode into a dataset that nobody reads yet."""
    import pyarrow as pa  # not where the recorder, which writes nothing here, would wait for it
    import pyarrow.parquet as pq

    write_whole(root / RECORD, records)
    for file in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        table = pq.read_table(file)
        said = [records[index] for index in table["episode_index"].to_pylist()]
        for word in TOLD:
            column = pa.array([str(one.get(word, "")) for one in said])
            place = table.schema.get_field_index(word)
            table = table.append_column(word, column) if place < 0 else table.set_column(place, word, column)
        pq.write_table(table, file)


def labels(root: Path) -> list[Said]:
    """What was said of each episode, by its index; an empty saying where somebody else recorded it."""
    if not root.exists():
        return []
    total = metadata.episode_count(root)
    try:
        known = list(json.loads((root / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = []
    except (OSError, ValueError) as error:
        raise DatasetError(f"{root / RECORD} cannot be read", got=error, mend="correct or remove it") from error
    return [*known, *({} for _ in range(total - len(known)))][:total]


def check_layout(root: Path, layout: Layout) -> None:
    """Refuse to add rows of another rate, robot, or with any column that differs in its type, size, or the names and order of its parts."""
    if not root.exists():
        return
    # Not metadata.load: the tables it reads would cost a recorder that begins an episode a second and a hundred megabytes.
    for what, own, ours in _compared(metadata.read_info(root), layout):
        if own != ours:
            mend = "record into another dataset"
            raise DatasetError(f"the dataset {root} is laid out otherwise", got=f"{what} {ours}", allowed=f"{what} {own}", mend=mend)


def _compared(information: dict[str, Any], layout: Layout) -> Iterator[tuple[str, object, object]]:
    """What must agree, as it is in a dataset and in rows to come."""
    yield "rows per second", float(information["fps"]), float(layout.fps)
    yield "robot", information.get("robot_type") or "none", layout.robot or "none"
    own = {name: feature for name, feature in information["features"].items() if name not in COUNTED}
    ours = layout.features()
    # Which there are comes first: one column more also makes the marks of age and validity longer.
    for name in sorted(own.keys() | ours.keys()):
        yield name, "there" if name in own else "missing", "there" if name in ours else "missing"
    for name in sorted(own):
        for part in ("dtype", "shape", "names"):
            yield f"{part} of {name}", _plain(own[name].get(part)), _plain(ours[name].get(part))


def _plain(value: Any) -> Any:
    """As it is in a tuple or in JSON's list alike."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def mended(root: Path) -> None:
    """Remove what a killed process left half made beside the dataset."""
    with _turn(root):
        _mend(root)


def _mend(root: Path) -> None:
    old, twin = _aside(root, "before"), _aside(root, "growing")
    if old.exists() and not root.exists():
        old.rename(root)  # the kill came between two renames, where the disk knows no exchange
    for rest in (old, twin):
        shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Wait until no other process changes a dataset in this folder; the turn of one that dies is over."""
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(root.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(root: Path, change: Callable[[Path], None]) -> None:
    """Let `change` work on a twin of the dataset, which then takes its place."""
    twin, old = _aside(root, "growing"), _aside(root, "before")
    try:
        with writing(root):
            if root.exists():
                shutil.copytree(root, twin, copy_function=partial(_linked, root))
            change(twin)
    except BaseException:
        shutil.rmtree(twin, ignore_errors=True)
        raise
    if not root.exists():
        twin.rename(root)
    elif _exchanged(twin, root):
        shutil.rmtree(twin, ignore_errors=True)
    else:
        root.rename(old)
        twin.rename(root)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places, so that at no moment one is missing; False where the system or the disk cannot."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return exchange is not None and exchange(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


def _aside(root: Path, what: str) -> Path:
    return root.with_name(f".{root.name}.{what}")


def _linked(root: Path, source: str, target: str) -> str:
    """A hard link to what is only ever read or replaced; a copy of what is rewritten in its place, in the dataset's folder meta."""
    path = Path(source)
    if path.suffix in (".mp4", ".parquet") and path.relative_to(root).parts[0] in ("videos", "data"):
        try:
            Path(target).hardlink_to(path)
        except OSError:
            shutil.copy2(source, target)
        return target
    return str(shutil.copy2(source, target))
