"""The exporter as a process of its own beside the recorder: started when there is something to do, and again when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wm_core.data import journal, relabelling

LOG = "exporter.log"
AGAIN, LATER = 5.0, 60.0  # s between two starts; after one that found a fault, a full disk perhaps: each costs ten seconds of a core
NICENESS = 10


class Exporting:
    """Its output is in DATASET.journal/exporter.log."""

    def __init__(self, dataset: Path, linger: float) -> None:
        self._dataset, self._linger, self._root = dataset, linger, journal.root_of(dataset)
        self._states = journal.States(self._root)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -float("inf")

    def pending(self) -> int:
        """Episodes that are captured and not in the dataset yet."""
        return self._states.count(journal.FINISHED)

    def keep_going(self, now: float) -> str:
        """Start the process where it is needed at `now` (s, steady); tells when it ended too early, or cannot be started."""
        status = None if self._process is None else self._process.poll()
        running = self._process is not None and status is None
        faulty = status is not None and status > 0
        if running or now - self._started < (LATER if faulty else AGAIN):
            return ""
        if not self.pending() and not relabelling.waiting(self._root):
            return ""
        self._started = now
        try:
            self._start()
        except OSError as error:
            self._process = None
            return f"the exporter cannot be started, and is tried again in {AGAIN:g} s: {error}"
        return f"the exporter ended with status {status} and is started again; see {self._root / LOG}" if status else ""

    def _start(self) -> None:
        command = [sys.executable, "-m", "wm_core.cli.main", "dataset", "export", str(self._dataset), "--linger", str(self._linger)]
        with (self._root / LOG).open("ab") as log:
            # In a session of its own: what ends the recorder must not end it before it has written what was captured.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.nice(NICENESS) and None,
            )
