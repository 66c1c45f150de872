"""Words of the recorder's topic and keyboard as the commands that they mean."""

from __future__ import annotations

from enum import IntEnum

from wm_core.data.journal import SUCCESS
from wm_core.data.recorder import Wish
from wm_core.errors import WmError

START_OR_STOP = "start or stop"  # what one key says
GOAL = "goal"  # alone, or with a name behind it
SAID = {"failure": SUCCESS[1], "success": SUCCESS[2]}


class Command(IntEnum):
    """As in srv/RecordEpisode."""

    START = 0
    STOP = 1
    DISCARD = 2
    LABEL = 3


WORDS = {"start": Command.START, "stop": Command.STOP, "discard": Command.DISCARD}


class WordError(WmError):
    """A word that is no command."""


def meant(word: str, recording: bool) -> tuple[Command, Wish]:
    """The command of a word, and what it says of the episode; a label ends the episode that runs."""
    if word == START_OR_STOP:
        word = "stop" if recording else "start"
    if word in SAID:
        return Command.STOP if recording else Command.LABEL, Wish(success=SAID[word])
    if word not in WORDS:
        raise WordError(f"unknown command '{word}'", allowed=", ".join([*WORDS, *SAID, f"{GOAL} NAME"]))
    return WORDS[word], Wish()


def goal_asked(word: str, unnamed: str) -> str | None:
    """The name under which a word asks to keep the view as a goal, `unnamed` where it says none; None: it asks for something else."""
    first, _, name = word.strip().partition(" ")
    return (name.strip() or unnamed) if first == GOAL else None
