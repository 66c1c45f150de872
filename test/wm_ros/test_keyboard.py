"""Protects the keys of the recorder: what each means, a terminal that is given back as it was, and one that is another's left alone."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from wm_core.data.recorder_words import Command, goal_asked, meant
from wm_ros.keyboard import KEYS, Keyboard

ROOT = Path(__file__).resolve().parents[2]
# The leader of a session whose terminal is standard input starts a second process in a group of its own, as a shell does in the background.
# It would be stopped by SIGTTOU when it set the terminal or gave it back, and by SIGTTIN when it read.
BACKGROUND = """
import os, sys
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    from wm_ros.keyboard import Keyboard
    board = Keyboard()
    pressed = board.pressed()
    board.close()
    os._exit(len(pressed))
_, status = os.waitpid(child, os.WUNTRACED)
if os.WIFSTOPPED(status):
    os.kill(child, 9)
sys.exit(100 if os.WIFSTOPPED(status) else os.WEXITSTATUS(status))
"""
# The same one is put into the background by its terminal being given to another group, and comes back.
AWAY_AND_BACK = """
import os, signal, sys, termios
from wm_ros.keyboard import Keyboard
other = os.fork()
if other == 0:
    os.setpgid(0, 0)
    signal.pause()
os.setpgid(other, other)
board = Keyboard()
raw = termios.tcgetattr(0)[3]
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(0, other)
cooked = termios.tcgetattr(0)
cooked[3] |= termios.ICANON
termios.tcsetattr(0, termios.TCSANOW, cooked)
away = board.pressed()
left_alone = bool(termios.tcgetattr(0)[3] & termios.ICANON)
os.tcsetpgrp(0, os.getpgrp())
board.pressed()
taken = termios.tcgetattr(0)[3] == raw
os.kill(other, signal.SIGKILL)
sys.exit(0 if (away, left_alone, taken) == ([], True, True) else 1)
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Whose keys are typed, and where they are read, which is standard input."""
    typist, reader = pty.openpty()
    with os.fdopen(reader, closefd=False) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield typist, reader
    for end in (typist, reader):
        os.close(end)


def typed(typist: int, reader: int, keys: bytes) -> None:
    os.write(typist, keys)
    assert select.select([reader], [], [], 10.0)[0]


def ended(program: str, typed_ahead: bytes = b"") -> int:
    """The exit status of a program that leads a session with a terminal of its own as standard input."""
    typist, reader = pty.openpty()
    try:
        os.write(typist, typed_ahead)
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=reader,
            capture_output=True,
            cwd=ROOT,
            timeout=60,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
    finally:
        os.close(typist)
        os.close(reader)
    assert not done.stderr, done.stderr.decode()
    return done.returncode


def test_each_key_is_a_word_and_every_other_is_none(terminal: tuple[int, int]) -> None:
    board = Keyboard()
    typed(*terminal, b" dxsfg\xc3\xa9D")
    assert board.pressed() == ["start or stop", "discard", "success", "failure", "goal"]
    assert board.pressed() == []
    assert board.help() == "keys: space start or stop, d discard, s success, f failure, g goal"
    board.close()


def test_every_word_of_a_key_is_a_command() -> None:
    commands = {meant(word, recording=False)[0] for word in KEYS.values() if goal_asked(word, "unnamed") is None}
    assert commands == {Command.START, Command.DISCARD, Command.LABEL}
    assert goal_asked(KEYS["g"], "unnamed") == "unnamed"


def test_the_terminal_is_given_back_as_it_was(terminal: tuple[int, int]) -> None:
    before = termios.tcgetattr(terminal[1])
    board = Keyboard()
    assert not termios.tcgetattr(terminal[1])[3] & (termios.ICANON | termios.ECHO), "each key comes at once, and is not shown"
    board.close()
    assert termios.tcgetattr(terminal[1]) == before
    assert (board.pressed(), board.help()) == ([], "")
    board.close()


def test_a_terminal_that_ends_ends_the_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    typist, reader = pty.openpty()
    with os.fdopen(reader) as file:
        monkeypatch.setattr(sys, "stdin", file)
        board = Keyboard()
        os.close(typist)
        assert board.pressed() == []
        assert board.help() == ""


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stdin", file)
        board = Keyboard()
        assert (board.pressed(), board.help()) == ([], "")
        board.close()


def test_a_process_in_the_background_is_not_stopped_and_takes_no_keys() -> None:
    assert ended(BACKGROUND, b"dd\n") == 0


def test_one_that_comes_back_to_the_foreground_takes_the_keys_again() -> None:
    assert ended(AWAY_AND_BACK) == 0
