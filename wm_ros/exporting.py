"""The exporter as a process of its own beside the recorder: started when there is something to do, and again when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wm_core.data import journal, relabelling

LOG = "exporter.log"
AGAIN, LATER = 5.0, 60.0  # s between two starts; after one that found a fault, a full disk perhaps: each costs ten seconds of a core
LASTING = 30.0  # s after which one that was started again is past what it ended of
NICENESS = 10


class Exporting:
    """Its output is in DATASET.journal/exporter.log. `fault` says how it ended with its work undone, until it is past that."""

    def __init__(self, dataset: Path, linger: float) -> None:
        self._dataset, self._linger, self._root = dataset, linger, journal.root_of(dataset)
        self._states = journal.States(self._root)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -float("inf")
        self.fault = ""

    def journals(self) -> dict[str, list[Path]]:
        """The folders of what was captured, by their state."""
        return self._states.folders()

    def keep_going(self, now: float) -> None:
        """Start the process where it is needed at `now` (s, steady)."""
        status = None if self._process is None else self._process.poll()
        running, since = self._process is not None and status is None, now - self._started
        undone = bool(self.fault or not running) and self._undone()
        if not undone or status == 0 or (running and since > LASTING):
            self.fault = ""
        elif status:
            self.fault = f"the exporter ended with status {status}: see {self._root / LOG}; it is started again by itself"
        if running or not undone or since < (LATER if (status or 0) > 0 else AGAIN):
            return
        self._started = now
        try:
            self._start()
        except OSError as error:
            self._process = None
            self.fault = f"the exporter cannot be started: {error}; it is tried again: free some room and memory"

    def _undone(self) -> bool:
        """Whether an episode or a label waits for the dataset."""
        return bool(self.journals().get(journal.FINISHED)) or bool(relabelling.waiting(self._root))

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
