"""Protects the words of topic and keyboard: each is one command, with the label that it says, and any other names those that there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.data.recorder import Wish
from wm_core.data.recorder_words import SAID, START_OR_STOP, WORDS, Command, WordError, goal_asked, meant


@pytest.mark.parametrize(
    ("word", "idle", "recording", "label"),
    [
        ("start", Command.START, Command.START, "unknown"),
        ("stop", Command.STOP, Command.STOP, "unknown"),
        ("discard", Command.DISCARD, Command.DISCARD, "unknown"),
        ("success", Command.LABEL, Command.STOP, "succeeded"),
        ("failure", Command.LABEL, Command.STOP, "failure"),
        ("start or stop", Command.START, Command.STOP, "unknown"),
    ],
)
def test_a_word_is_a_command(word: str, idle: Command, recording: Command, label: str) -> None:
    assert meant(word, recording=False) == (idle, Wish(success=label))
    assert meant(word, recording=True) == (recording, Wish(success=label))


@given(word=st.text().filter(lambda word: word not in {*WORDS, *SAID, START_OR_STOP}), recording=st.booleans())
def test_any_other_word_is_refused_with_those_that_there_are(word: str, recording: bool) -> None:
    with pytest.raises(WordError, match="unknown command") as refused:
        meant(word, recording)
    assert str(refused.value) == f"unknown command '{word}'; allowed: start, stop, discard, failure, success, goal NAME"


@pytest.mark.parametrize(
    ("word", "name"), [("goal", "view"), ("goal cup", "cup"), (" goal  cup ", "cup"), ("goals", None), ("start", None), ("", None)]
)
def test_a_goal_is_asked_for_with_a_name_or_without(word: str, name: str | None) -> None:
    assert goal_asked(word, "view") == name
