"""Protects the exporter's process: started when there is something to do, again at once when it was killed, later when it found a fault.

A fault is told for as long as it lasts: from the end of a process that left work undone until another is past that.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from recordings import contract, write_journal

from wm_core.data import journal, relabelling
from wm_ros.exporting import AGAIN, LASTING, LATER, LOG, Exporting


class Watched(Exporting):
    """Its processes end as `ends` says, at once: an exit status, or the signal that kills them where it is negative; None: they go on."""

    def __init__(self, dataset: Path, ends: int | None) -> None:
        super().__init__(dataset, 0.0)
        self.ends, self.starts, self.refused = ends, 0, False

    def _start(self) -> None:
        if self.refused:
            raise OSError("no memory")
        self.starts += 1
        end = f"sys.exit({self.ends})" if (self.ends or 0) >= 0 else f"os.kill(os.getpid(), {-(self.ends or 0)})"
        program = "import os, sys; " + ("sys.stdin.read()" if self.ends is None else end)
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
        if self.ends is not None:
            self._process.wait()

    def end(self) -> None:
        """The process that goes on ends well."""
        assert self._process is not None
        self._process.communicate()


def waiting(dataset: Path) -> Path:
    """A dataset beside which one episode waits."""
    write_journal(journal.root_of(dataset), 0, [], contract())
    return dataset


def test_nothing_is_started_for_nothing(tmp_path: Path) -> None:
    exporting = Watched(tmp_path / "set", 0)
    exporting.keep_going(100.0)
    assert (exporting.starts, exporting.fault) == (0, "")


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
    exporting.keep_going(100.0)
    exporting.keep_going(100.0 + 0.9 * AGAIN)
    assert exporting.starts == 1
    assert "ended with status -9" in exporting.fault
    exporting.keep_going(100.0 + 1.1 * AGAIN)
    assert exporting.starts == 2


def test_one_that_found_a_fault_is_given_time(tmp_path: Path) -> None:
    exporting = Watched(waiting(tmp_path / "set"), 1)
    exporting.keep_going(100.0)
    exporting.keep_going(100.0 + 0.9 * LATER)
    assert exporting.starts == 1
    assert "ended with status 1" in exporting.fault
    assert "set.journal/exporter.log" in exporting.fault
    exporting.keep_going(100.0 + 1.1 * LATER)
    assert exporting.starts == 2


def test_a_fault_is_over_once_the_next_process_lasts(tmp_path: Path) -> None:
    exporting = Watched(waiting(tmp_path / "set"), 1)
    exporting.keep_going(100.0)
    exporting.ends = None
    again = 100.0 + 1.1 * LATER
    exporting.keep_going(again)
    exporting.keep_going(again + 0.9 * LASTING)
    assert "ended with status 1" in exporting.fault, "it may end again of the same"
    exporting.keep_going(again + 1.1 * LASTING)
    assert exporting.fault == ""
    exporting.end()


def test_a_fault_is_over_once_nothing_waits_any_more(tmp_path: Path) -> None:
    dataset = waiting(tmp_path / "set")
    exporting = Watched(dataset, 1)
    for now in (100.0, 101.0):
        exporting.keep_going(now)
    assert exporting.fault
    shutil.rmtree(journal.root_of(dataset) / "000000")
    exporting.keep_going(102.0)
    assert exporting.fault == ""


def test_one_that_ended_after_its_work_is_no_fault(tmp_path: Path) -> None:
    dataset = waiting(tmp_path / "set")
    exporting = Watched(dataset, 0)
    for now in (100.0, 101.0, 100.0 + 1.1 * AGAIN):
        exporting.keep_going(now)
        assert exporting.fault == ""
    assert exporting.starts == 2


def test_one_that_cannot_be_started_is_a_fault_until_it_can(tmp_path: Path) -> None:
    exporting = Watched(waiting(tmp_path / "set"), None)
    exporting.refused = True
    exporting.keep_going(100.0)
    assert "cannot be started: no memory" in exporting.fault
    exporting.refused = False
    exporting.keep_going(100.0 + 1.1 * AGAIN)
    assert exporting.starts == 1
    exporting.keep_going(100.0 + 1.1 * AGAIN + 1.1 * LASTING)
    assert exporting.fault == ""
    exporting.end()


def test_an_exporter_whose_log_cannot_be_opened_is_named_and_tried_again(tmp_path: Path) -> None:
    exporting = Exporting(waiting(tmp_path / "set"), 0.0)
    (journal.root_of(tmp_path / "set") / LOG).mkdir()  # as little to be written to as a file of a read-only disk
    exporting.keep_going(100.0)
    assert "cannot be started" in exporting.fault
