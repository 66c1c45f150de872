"""A program for test_checkpoint.py: saves killed (SIGKILL) at their first, second, ... flush to the disk, each in a folder of its own.

Its processes are forked before anything computes: threads would not survive it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import torch  # noqa: E402
from saved_example import example  # noqa: E402

from wm_core.world_model import checkpoint  # noqa: E402


def save_and_die(folder: Path, moment: int) -> None:
    checkpoint.save(folder, "step_1", example())
    flush, count = checkpoint._flush, 0

    def flush_or_die(path: Path) -> None:
        nonlocal count
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        flush(path)

    checkpoint._flush = flush_or_die
    checkpoint.save(folder, "step_2", example(step=2, seed=5))


def killed(folder: Path, moment: int) -> bool:
    """False if the save lived to its end."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        save_and_die(folder, moment)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(os.WEXITSTATUS(status))
    return os.WIFSIGNALED(status)


def main(root: Path) -> None:
    moment = 0
    while killed(root / f"moment_{moment:02d}", moment):
        moment += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
