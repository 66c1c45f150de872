"""A program for test_distributed.py, started by torchrun: trainings by two processes."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import torch  # noqa: E402
from small_training import SHARED_OUT, make_trainer, shared_out  # noqa: E402

from wm_core.training.distributed import joined  # noqa: E402


def main(root: Path, steps: int) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        for name in (*SHARED_OUT, "resumed"):
            config = shared_out("fsdp" if name == "resumed" else name, steps)
            make_trainer(root / name, config, processes, resume=name == "resumed").run(progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
