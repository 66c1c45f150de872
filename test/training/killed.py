"""A program for test_resume.py: trainings that are killed (SIGKILL) at the first, second, ... call to the disk of one checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import torch  # noqa: E402
from small_training import make_trainer, train_config  # noqa: E402

from wm_core.world_model import checkpoint  # noqa: E402

STRIDE = 4  # calls from one kill to the next


def counting(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return call(*arguments, **named)

    return counted


def save_and_die(folder: Path, calls: int) -> None:
    left = [calls]
    trainer = make_trainer(folder, train_config(steps=4, checkpoint_every=1, keep=2), resume=True)
    for name in ("fsync", "rename", "unlink", "rmdir", "open"):
        setattr(os, name, counting(getattr(os, name), left))
    checkpoint.save_file = counting(checkpoint.save_file, left)  # type: ignore[attr-defined]
    trainer.step = 3
    trainer.save({})


def forked(work: Callable[..., None], *arguments: Any) -> int:
    """The signal that ended the work, 0 for none. Nothing computes before the fork: threads would not survive it."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        work(*arguments)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(os.WEXITSTATUS(status))
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def begin(folder: Path) -> None:
    make_trainer(folder, train_config(steps=4, checkpoint_every=1, keep=2)).run(until=2, progress=False)


def main(root: Path) -> None:
    torch.optim.AdamW([torch.zeros(1)])  # a first optimiser imports for seconds; once here instead of in every child
    forked(begin, root / "begun")
    calls, ended_by = 0, int(signal.SIGKILL)
    while ended_by == signal.SIGKILL:
        folder = root / f"kill_{calls:03d}"
        shutil.copytree(root / "begun", folder)
        ended_by = forked(save_and_die, folder, calls)
        calls += STRIDE
    shutil.rmtree(root / "begun")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
