"""Protects the exporter's process: started when there is something to do, again at once when it was killed, later when it found a fault."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from recordings import contract, write_journal

from wm_core.data import journal, relabelling
from wm_ros.exporting import AGAIN, LATER, LOG, Exporting


class Watched(Exporting):
    """Its processes end as `ends` says, at once: an exit status, or the signal that kills them where it is negative."""

    def __init__(self, dataset: Path, ends: int) -> None:
        super().__init__(dataset, 0.0)
        self.ends, self.starts = ends, 0

    def _start(self) -> None:
        program = f"import os, sys; os.kill(os.getpid(), {-self.ends}) if {self.ends} < 0 else sys.exit({self.ends})"
        self.starts += 1
        self._process = subprocess.Popen([sys.executable, "-c", program])
        self._process.wait()


def waiting(dataset: Path) -> Path:
    """A dataset beside which one episode waits."""
    write_journal(journal.root_of(dataset), 0, [], contract())
    return dataset


def test_nothing_is_started_for_nothing(tmp_path: Path) -> None:
    exporting = Watched(tmp_path / "set", 0)
    assert exporting.keep_going(100.0) == ""
    assert exporting.starts == 0


def test_it_is_started_for_a_label_alone_and_not_for_what_cannot_be_read(tmp_path: Path) -> None:
    exporting, root = Watched(waiting(tmp_path / "set"), 0), journal.root_of(tmp_path / "set")
    (root / "000000" / journal.STATE).write_text('{"state": "finished"}', encoding="utf-8")
    exporting.keep_going(100.0)
    assert exporting.starts == 0
    relabelling.ask(root, {"index": 0}, {"success": "failure"})
    exporting.keep_going(101.0)
    assert exporting.starts == 1


def test_one_that_was_killed_is_started_again_at_once(tmp_path: Path) -> None:
    exporting = Watched(waiting(tmp_path / "set"), -signal.SIGKILL)
    assert exporting.keep_going(100.0) == ""
    assert exporting.keep_going(100.0 + 0.9 * AGAIN) == ""
    assert "ended with status -9" in exporting.keep_going(100.0 + 1.1 * AGAIN)
    assert exporting.starts == 2


def test_one_that_found_a_fault_is_given_time(tmp_path: Path) -> None:
    exporting = Watched(waiting(tmp_path / "set"), 1)
    exporting.keep_going(100.0)
    assert exporting.keep_going(100.0 + 0.9 * LATER) == ""
    assert exporting.starts == 1
    assert "ended with status 1" in exporting.keep_going(100.0 + 1.1 * LATER)
    assert exporting.starts == 2


def test_one_that_cannot_be_started_is_named_and_tried_again(tmp_path: Path) -> None:
    exporting = Exporting(waiting(tmp_path / "set"), 0.0)
    (journal.root_of(tmp_path / "set") / LOG).mkdir()  # as little to be written to as a file of a read-only disk
    assert "cannot be started" in exporting.keep_going(100.0)
    assert exporting.keep_going(100.0 + 0.9 * AGAIN) == ""
    assert "cannot be started" in exporting.keep_going(100.0 + 1.1 * AGAIN)
