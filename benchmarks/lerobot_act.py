"""A recorded set in the unmodified lerobot package: its own trainer, `lerobot-train`, trains a small ACT policy for 20 steps.

    ./wm exec python benchmarks/lerobot_act.py DATASET [--steps 20] [--batch 4]

The trainer needs `accelerate`, which nothing else here does: it is installed for this run alone, into a directory that is removed. Ends
with a status other than 0 when the trainer fails, when a step is missing, or when the losses do not fall.
"""

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = Path(sys.executable).parent
CHUNK = 8  # actions that are predicted at once
# A policy of a hundredth of ACT's size, without weights from the hub; the preset's rate of 1e-5 is for 100,000 steps.
POLICY = {
    "type": "act",
    "device": "cpu",
    "push_to_hub": "false",
    "pretrained_backbone_weights": "null",
    "dim_model": 64,
    "n_heads": 4,
    "dim_feedforward": 128,
    "n_encoder_layers": 1,
    "n_vae_encoder_layers": 1,
    "latent_dim": 8,
    "chunk_size": CHUNK,
    "n_action_steps": CHUNK,
    "optimizer_lr": 1e-3,
    "optimizer_lr_backbone": 1e-3,
}


def asked(dataset: Path, out: Path, steps: int, batch: int) -> list[str]:
    """What the trainer is told."""
    data = {"repo_id": "local/set", "root": dataset, "video_backend": "pyav"}
    run = {"steps": steps, "batch_size": batch, "num_workers": 0, "log_freq": 1, "save_checkpoint": "false", "output_dir": out}
    grouped = {"dataset.": data, "policy.": POLICY, "": run, "wandb.": {"enable": "false"}}
    return [f"--{group}{name}={value}" for group, settings in grouped.items() for name, value in settings.items()]


def trained(dataset: Path, steps: int, batch: int) -> list[float]:
    """The loss of each step, as the trainer told it."""
    with tempfile.TemporaryDirectory() as folder:
        extra = Path(folder) / "accelerate"
        subprocess.run([TOOLS / "uv", "pip", "install", "--quiet", "--no-deps", "--target", extra, "accelerate"], check=True)
        words = [TOOLS / "lerobot-train", *asked(dataset, Path(folder) / "out", steps, batch)]
        environment = {**os.environ, "PYTHONPATH": f"{extra}:{os.environ.get('PYTHONPATH', '')}", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"lerobot-train ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return [float(loss) for loss in re.findall(r"step:\d+ .*? loss:(\S+)", done.stdout + done.stderr)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    chosen = parser.parse_args()
    began = time.monotonic()
    losses = trained(chosen.dataset.absolute(), chosen.steps, chosen.batch)
    quarter = max(len(losses) // 4, 1)
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    print(f"{len(losses)} steps in {time.monotonic() - began:.0f} s, all included; loss {first:.3f} -> {last:.3f}")
    sys.exit(len(losses) != chosen.steps or not all(map(math.isfinite, losses)) or not last < first)


if __name__ == "__main__":
    main()
