"""Journals: what the recorder captured, one folder per episode beside the dataset, until it is exported.

DATASET.journal/000012/ holds capture.mcap, a bag that any reader of MCAP opens, and journal.json, which is replaced whole. What a process
wrote survives its kill: at most the message that was being written is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from mcap.writer import CompressionType, Writer

from wm_core.data.errors import DatasetError, EpisodeError, StorageError
from wm_core.data.message_types import definition
from wm_core.data.recording_config import Contract
from wm_core.errors import WmError

CAPTURE, STATE = "capture.mcap", "journal.json"
CAPTURING, FINISHED, EXPORTED, FAILED = "capturing", "finished", "exported", "failed"
SUCCESS = ("unknown", "failure", "succeeded")
GIGA = 1e9


@dataclass(frozen=True)
class Labels:
    """What a person says of an episode."""

    task: str
    success: str
    robot: str
    workspace: str


@dataclass(frozen=True)
class Journal:
    """One episode on its way into a dataset."""

    folder: Path
    name: str  # no other journal has it
    state: str
    labels: Labels
    contract: Contract
    faults: tuple[str, ...] = field(default=())

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def capture(self) -> Path:
        return self.folder / CAPTURE

    def save(self) -> None:
        """Write journal.json, whole or not at all."""
        plain = {
            "name": self.name,
            "state": self.state,
            "labels": asdict(self.labels),
            "faults": list(self.faults),
            "contract": self.contract.plain(),
        }
        write_whole(self.folder / STATE, plain)


class JournalWriter:
    """An episode that is being captured."""

    def __init__(self, root: Path, number: int, contract: Contract, labels: Labels) -> None:
        folder = root / f"{number:06d}"
        self.journal = Journal(folder, uuid.uuid4().hex, CAPTURING, labels, contract)
        folder.mkdir(parents=True)
        try:
            self.journal.save()
            self._file: IO[bytes] = (folder / CAPTURE).open("wb")
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # of an episode that never began
            raise
        self._writer = Writer(self._file, compression=CompressionType.NONE, use_chunking=False)
        self._writer.start(profile="ros2", library="wm_ros")
        self._channels: dict[tuple[str, str], int] = {}

    def write(self, topic: str, kind: str, received: float, stamp: float, data: bytes) -> None:
        """One message as it came; times in s. What is written here is not lost when the process is killed."""
        channel = topic, kind  # who publishes a topic may change its type
        if channel not in self._channels:
            schema = self._writer.register_schema(kind, "ros2msg", definition(kind).encode())
            self._channels[channel] = self._writer.register_channel(topic, "cdr", schema)
        self._writer.add_message(self._channels[channel], round(received * GIGA), data, round(max(stamp, 0.0) * GIGA))
        self._file.flush()

    def finish(self, labels: Labels, faults: tuple[str, ...]) -> Journal:
        """The episode is kept. An OSError where the disk takes nothing: what was captured stays for `salvage`."""
        self._end()
        self.journal = replace(self.journal, state=FINISHED, labels=labels, faults=faults)
        self.journal.save()
        return self.journal

    def discard(self) -> None:
        """The episode is dropped. An OSError where the disk lets nothing be removed."""
        with suppress(OSError):  # of what is dropped, nothing needs to reach the disk any more
            self._file.close()
        shutil.rmtree(self.journal.folder)

    def _end(self) -> None:
        try:
            self._writer.finish()
        finally:
            # Also where the disk is full: the file is closed, though closing says so once more.
            self._file.close()


def root_of(dataset: Path) -> Path:
    """Where the journals of a dataset lie."""
    return dataset.with_name(f"{dataset.name}.journal")


def read(folder: Path) -> Journal:
    """The journal in `folder`."""
    try:
        plain = json.loads((folder / STATE).read_text(encoding="utf-8"))
        contract = Contract.of(plain["contract"], str(folder / STATE))
        return Journal(folder, str(plain["name"]), str(plain["state"]), Labels(**plain["labels"]), contract, tuple(plain["faults"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, WmError) as error:
        mend = f"add its {CAPTURE} with wm dataset from-bag, and remove the folder"
        raise EpisodeError(f"the journal {folder} cannot be read, and is left alone", got=repr(error), mend=mend) from error


def journals(root: Path) -> list[Journal]:
    """Those that can be read, in the order in which they were captured."""
    return _read_all(root)[0]


def unreadable(root: Path) -> list[EpisodeError]:
    """What is wrong with each of the others."""
    return _read_all(root)[1]


def _read_all(root: Path) -> tuple[list[Journal], list[EpisodeError]]:
    found, wrong = list[Journal](), list[EpisodeError]()
    for folder in folders(root):
        if not (folder / STATE).is_file():
            continue
        try:
            found.append(read(folder))
        except EpisodeError as error:
            if (folder / STATE).is_file():  # else it was exported or discarded this moment
                wrong.append(error)
    return found, wrong


Written = tuple[int, int]
"""Number of a file on its disk, and when it was written (ns)."""


class States:
    """The states of all journals, for who asks often: a file is read again only when another has taken its place."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, tuple[Written, str]] = {}

    def folders(self) -> dict[str, list[Path]]:
        """The folders of the journals by the state that they are in now, the oldest first."""
        self._known = {folder: self._state(folder) for folder in folders(self._root)}
        found: dict[str, list[Path]] = {}
        for folder, (_, state) in self._known.items():
            found.setdefault(state, []).append(folder)
        return found

    def _state(self, folder: Path) -> tuple[Written, str]:
        """Which file it is, and the state; an empty one where there is no journal that can be read."""
        try:
            told = (folder / STATE).stat()
        except OSError:
            return (0, 0), ""
        written = told.st_ino, told.st_mtime_ns
        if folder in self._known and self._known[folder][0] == written:
            return self._known[folder]
        try:
            return written, read(folder).state
        except EpisodeError:
            return written, ""


def folders(root: Path) -> list[Path]:
    """The folder of every journal, the oldest first."""
    return sorted(path for path in root.glob("[0-9]*") if path.is_dir() and path.name.isdigit())


def salvage(root: Path) -> list[Journal]:
    """Mark what a killed recorder left behind as finished; only who holds the lock `recorder` may."""
    saved = []
    for journal in journals(root):
        if journal.state == CAPTURING:
            kept = replace(
                journal, state=FINISHED, faults=(*journal.faults, "the recorder ended without STOP: what it had captured was salvaged")
            )
            kept.save()
            saved.append(kept)
    return saved


class Lock:
    """A file that one process holds; it is free again when that process has ended, however it did."""

    def __init__(self, root: Path, name: str) -> None:
        self._path = root / f"{name}.lock"
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError as error:
            mend = "give a directory that can be written to"
            raise StorageError(f"nothing can be written in {root}", got=error.strerror, mend=mend) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise DatasetError(
                f"another {name} works on {root.name.removesuffix('.journal')}",
                got=f"process {holder}",
                mend="end it, or name another dataset",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def write_whole(path: Path, plain: Mapping[str, Any] | list[Any]) -> None:
    """JSON in a file that is never half written."""
    growing = path.with_name(f".{path.name}.growing")
    growing.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    os.replace(growing, path)
