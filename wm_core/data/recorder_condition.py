"""How a recorder is: what it does, and what troubles it; told from what is known, so that a trouble is over when it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from wm_core.data.journal import CAPTURING, FAILED, FINISHED


class State(IntEnum):
    """As in msg/RecorderStatus."""

    IDLE = 0
    RECORDING = 1
    EXPORTING = 2
    FAULT = 3


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Known:
    """What is known of a recorder: the episode it captures (-1: none), and the folders of all journals by their state.

    `room` says why the disk takes no episode, `exporter` how the exporter ended with its work undone; empty where neither is so.
    """

    capturing: int
    journals: Mapping[str, Sequence[Path]]
    room: str = ""
    exporter: str = ""


@dataclass(frozen=True)
class Condition:
    """`troubles` are sentences, each with where to mend it."""

    state: State
    level: Level
    troubles: tuple[str, ...]


def condition(known: Known) -> Condition:
    """An episode that runs is told first; its troubles are told beside it. Only without room nothing can be recorded: that is an error."""
    unfinished = [folder for folder in known.journals.get(CAPTURING, ()) if int(folder.name) != known.capturing]
    failed = known.journals.get(FAILED, ())
    troubles = [text for text in (known.room, known.exporter) if text]
    if unfinished:
        troubles.append(f"{_named(unfinished)} could not be ended: free some room and start the recorder again, which keeps what is there")
    if failed:
        log = failed[0].parent / "exporter.log"
        troubles.append(f"{_named(failed)} could not be exported: {log} says why; once nobody needs what is in it, remove {failed[0]}")
    level = Level.ERROR if known.room else Level.WARN if troubles else Level.OK
    return Condition(_state(known, bool(troubles)), level, tuple(troubles))


def _state(known: Known, troubled: bool) -> State:
    if known.capturing >= 0:
        return State.RECORDING
    if troubled:
        return State.FAULT
    return State.EXPORTING if known.journals.get(FINISHED) else State.IDLE


def _named(folders: Sequence[Path]) -> str:
    return f"episode{'s' if len(folders) > 1 else ''} {', '.join(str(int(folder.name)) for folder in folders)}"
