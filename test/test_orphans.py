"""Protects a machine from work that nobody waits for any more: killing a command that shares its work out ends all of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

BOUND = 60.0
SHARED = """
import multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor
from wm_core.orphans import end_with_parent

def work():
    print(os.getpid(), flush=True)
    threading.Event().wait()

def work_alone():
    end_with_parent()
    work()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    if sys.argv[1] == "pool":
        ProcessPoolExecutor(1, context, initializer=end_with_parent).submit(work).result()
    else:
        process = context.Process(target=work_alone)
        process.start()
        process.join()
"""


def gone(process: int) -> bool:
    """Whether a process that is no child of this one ends within the bound."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    with os.fdopen(handle) as opened:
        return bool(select.select([opened], [], [], BOUND)[0])


def test_a_worker_of_a_pool_and_a_process_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    for how in ("pool", "process"):
        with subprocess.Popen([sys.executable, str(script), how], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            worker = int(parent.stdout.readline())
            parent.send_signal(signal.SIGKILL)
            parent.wait(BOUND)
            assert gone(worker), how
