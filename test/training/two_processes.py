"""A program for test_distributed.py, started by torchrun: trainings by two processes."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import torch  # noqa: E402
from small_training import make_trainer, train_config  # noqa: E402

from wm_core.training.distributed import joined  # noqa: E402


def main(root: Path, steps: int) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        for name, strategy in (("ddp", "ddp"), ("fsdp", "fsdp"), ("resumed", "fsdp")):
            config = train_config(steps=steps, batch=4, global_batch=8, checkpoint_every=3, strategy=strategy)
            trainer = make_trainer(root / name, config, processes, resume=name == "resumed")
            trainer.source.load_state_dict({"next": trainer.step})  # the synthetic source counts the batches of each process
            trainer.run(progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
