"""Keys of a terminal as commands, one key each; the terminal is given back as it was."""

from __future__ import annotations

import atexit
import os
import select
import sys
import termios
import tty

KEYS = {" ": "start or stop", "d": "discard", "s": "success", "f": "failure"}


class Keyboard:
    """Reads keys where standard input is a terminal; elsewhere there are none."""

    def __init__(self) -> None:
        self._terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[object] = []
        if self._terminal is not None:
            self._before = termios.tcgetattr(self._terminal)
            tty.setcbreak(self._terminal)
            atexit.register(self.close)

    def pressed(self) -> list[str]:
        """What was pressed since the last call, as words of KEYS."""
        words = []
        while self._terminal is not None and select.select([self._terminal], [], [], 0.0)[0]:
            typed = os.read(self._terminal, 1).decode(errors="replace")
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
        if self._terminal is not None:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
            self._terminal = None
