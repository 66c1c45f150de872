"""Keys of a terminal as commands, one key each; the terminal is given back as it was."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import termios
import tty

KEYS = {" ": "start or stop", "d": "discard", "s": "success", "f": "failure", "g": "goal"}


class Keyboard:
    """Reads keys where standard input is a terminal; elsewhere there are none.

    A terminal that is another's for now, as when this process runs in the background of a shell, is left alone: the system stops who
    touches it. Keys are taken again as soon as the process is in its foreground.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[object] = []
        self._taken = False
        if self._terminal is not None:
            atexit.register(self.close)
            self._take()

    def pressed(self) -> list[str]:
        """What was pressed since the last call, as words of KEYS."""
        words = []
        while (terminal := self._take()) is not None and select.select([terminal], [], [], 0.0)[0]:
            typed = _read(terminal)
            if not typed:
                self.close()
            elif typed in KEYS:
                words.append(KEYS[typed])
        return words

    def help(self) -> str:
        """What the keys do; empty where there is no terminal."""
        named = {" ": "space"}
        return "" if self._terminal is None else "keys: " + ", ".join(f"{named.get(key, key)} {word}" for key, word in KEYS.items())

    def close(self) -> None:
        if self._taken and self._foreground():
            with contextlib.suppress(termios.error):  # a terminal that is gone
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        self._terminal, self._taken = None, False
        atexit.unregister(self.close)

    def _take(self) -> int | None:
        """The terminal, set to give each key at once; None where there is none, or another has it."""
        if self._terminal is None or not self._foreground():
            self._taken = False  # the shell sets it to its own needs, and this process anew when it comes back
            return None
        if not self._taken:
            self._before = self._before or termios.tcgetattr(self._terminal)
            tty.setcbreak(self._terminal)
            self._taken = True
        return self._terminal

    def _foreground(self) -> bool:
        """Whether the terminal is this process's; one that controls nobody stops nobody."""
        try:
            return self._terminal is not None and os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return True


def _read(terminal: int) -> str:
    """One key; empty where the terminal has ended."""
    try:
        return os.read(terminal, 1).decode(errors="replace")
    except OSError:
        return ""
