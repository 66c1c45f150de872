"""The recorder's decisions: when an episode begins and ends, what becomes of it, why a request is refused; messages come from outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

from wm_core.data import dataset_growth, journal, relabelling
from wm_core.data.errors import EpisodeError, StorageError
from wm_core.data.journal import SUCCESS, JournalWriter, Labels, Lock
from wm_core.data.lerobot_writer import Layout
from wm_core.data.recording_config import Contract
from wm_core.errors import WmError

MEGA = 1e6


class Code(IntEnum):
    """As in srv/RecordEpisode."""

    SUCCESS = 0
    STREAM_MISSING = 1
    NOT_RECORDING = 2
    ALREADY_RECORDING = 3
    NO_EPISODE = 4
    DISK = 5
    INVALID = 6


@dataclass(frozen=True)
class Answer:
    """To a request; `episode` is the one it acted on, -1: none."""

    code: Code
    text: str
    episode: int = -1


@dataclass(frozen=True)
class Wish:
    """What a request says of an episode; what is empty is the contract's, or stays as it is."""

    task: str = ""
    success: str = "unknown"
    robot: str = ""
    workspace: str = ""


class Recorder:
    """Holds the dataset's lock `recorder` from the beginning to `close`."""

    def __init__(self, dataset: Path, contract: Contract, free: Callable[[Path], float] | None = None) -> None:
        """`free` tells the room on a disk (bytes)."""
        self.dataset, self.contract, self.root = dataset, contract, journal.root_of(dataset)
        self._free = free or (lambda path: float(shutil.disk_usage(path).free))
        self._lock = Lock(self.root, "recorder")
        self.salvaged = journal.salvage(self.root)
        self.unreadable = journal.unreadable(self.root)
        self.last = -1
        self._writer: JournalWriter | None = None
        self._faults: list[str] = []
        self.frames = 0

    @property
    def recording(self) -> bool:
        return self._writer is not None

    @property
    def number(self) -> int:
        """Of the episode that is being captured, or was last; -1 before the first."""
        return self._writer.journal.number if self._writer else self.last

    def start(self, wish: Wish, complaints: Sequence[str], layout: Callable[[], Layout]) -> Answer:
        """Begin an episode, if every stream is there, the disk has room, and the dataset is laid out as the rows will be."""
        config = self.contract.config
        if self._writer is not None:
            return Answer(Code.ALREADY_RECORDING, f"episode {self.number} is being recorded: stop or discard it first", self.number)
        if complaints:
            return Answer(Code.STREAM_MISSING, f"not started: {'; '.join(complaints)}. Mend it, or change `streams` of the contract")
        try:
            self._require_room()
            dataset_growth.check_layout(self.dataset, layout())
            labels = Labels(wish.task or config.task, wish.success, wish.robot or config.robot, wish.workspace or config.workspace)
            self._writer = JournalWriter(self.root, relabelling.next_number(self.dataset), self.contract, labels)
        except OSError as error:
            return Answer(Code.DISK, f"not started: the journal cannot be written: {error}")
        except WmError as error:
            # Also a camera whose pictures cannot be read, of which there is no layout.
            return Answer(Code.DISK if isinstance(error, StorageError) else Code.INVALID, f"not started: {error}")
        self.frames, self._faults = 0, []
        return Answer(Code.SUCCESS, f"episode {self.number}: {labels.task}", self.number)

    def write(self, topic: str, kind: str, received: float, stamp: float, data: bytes, frame: bool) -> str:
        """A message of the episode; a sentence when the disk took no more, with which the episode has ended."""
        if self._writer is None:
            return ""
        try:
            self._writer.write(topic, kind, received, stamp, data)
        except OSError as error:
            return self._cut_short(f"the disk takes no more: {error}")
        self.frames += frame
        return ""

    def watch(self, complaints: Sequence[str]) -> str:
        """Now and then while recording: note what fails; a sentence when the episode had to end."""
        if self._writer is None:
            return ""
        self._faults += [text for text in complaints if text.split(" ")[0] not in {known.split(" ")[0] for known in self._faults}]
        refused = self.refusal()
        return self._cut_short(refused) if refused else ""

    def stop(self, wish: Wish) -> Answer:
        """End the episode and keep it."""
        if self._writer is None:
            return Answer(Code.NOT_RECORDING, "nothing is being recorded: START first")
        labels = _changed(self._writer.journal.labels, wish)
        writer, self.last = self._writer, self._writer.journal.number
        self._writer = None
        try:
            kept = writer.finish(labels, tuple(self._faults))
        except OSError as error:
            text = f"episode {self.last} could not be ended: {error}. Free some room and start the recorder again: it keeps what is there"
            return Answer(Code.DISK, text, self.last)
        told = f"; {'; '.join(self._faults)}" if self._faults else ""
        return Answer(Code.SUCCESS, f"episode {kept.number} is kept and will be exported: {self.frames} frames{told}", kept.number)

    def discard(self) -> Answer:
        """End the episode and drop it."""
        if self._writer is None:
            return Answer(Code.NOT_RECORDING, "nothing is being recorded: START first")
        dropped, self._writer = self._writer, None
        number, folder = dropped.journal.number, dropped.journal.folder
        try:
            dropped.discard()
        except OSError as error:
            mend = f"remove {folder}, or a recorder that is started again keeps what is left of it"
            return Answer(Code.DISK, f"episode {number} is recorded no more, but cannot be removed: {error}. Mend: {mend}", number)
        return Answer(Code.SUCCESS, f"episode {number} is dropped", number)

    def label(self, index: int, wish: Wish) -> Answer:
        """Say what the kept episode of this number was; -1: the last one."""
        said = {key: value for key, value in asdict(wish).items() if value and (key, value) != ("success", SUCCESS[0])}
        try:
            number = index if index != -1 else self.number if self.number != -1 else self._newest()
            aim = relabelling.target(self.dataset, number)
            if said:
                relabelling.ask(self.root, aim, said)
        except EpisodeError as error:
            return Answer(Code.NO_EPISODE, str(error))
        except OSError as error:
            return Answer(Code.DISK, f"not labelled: the label cannot be written: {error}")
        except WmError as error:
            return Answer(Code.INVALID, f"not labelled: {error}")
        told = ", ".join(f"{key} {value}" for key, value in said.items())
        return Answer(Code.SUCCESS, f"episode {number} is labelled: {told or 'nothing new'}", number)

    def refusal(self) -> str:
        """Why the disk takes no episode now; empty: it does."""
        try:
            self._require_room()
        except StorageError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """What is being recorded is kept."""
        if self._writer is not None:
            self._faults.append("the recorder was ended before STOP")
            self.stop(Wish())
        self._lock.release()

    def _newest(self) -> int:
        return max(relabelling.kept_numbers(self.dataset), default=-1)

    def _require_room(self) -> None:
        try:
            free, least = self._free(self.root) / MEGA, self.contract.config.free_space
        except OSError as error:
            raise StorageError(f"nothing can be written in {self.root}", got=error.strerror, mend="bring the folder back") from error
        if not os.access(self.root, os.W_OK):
            mend = "let it be written to, or record into another dataset"
            raise StorageError(f"nothing can be written in {self.root}", got="a folder or disk that may only be read", mend=mend)
        if free < least:
            mend = "free some, or lower free_space in the contract"
            raise StorageError(f"too little room beside {self.dataset}", got=f"{free:.0f} MB", allowed=f"at least {least:g} MB", mend=mend)

    def _cut_short(self, why: str) -> str:
        self._faults.append(why)
        return f"the recording ended early: {why}. {self.stop(Wish()).text}"


def _changed(labels: Labels, wish: Wish) -> Labels:
    success = wish.success if wish.success != SUCCESS[0] else labels.success
    return Labels(wish.task or labels.task, success, wish.robot or labels.robot, wish.workspace or labels.workspace)
