"""`wm train`: the world model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_overrides, config_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("train", help="train the world model on LeRobot datasets")
    add_config(parser, "train_embedded.yaml", "what to train; train_full.yaml is the large one")
    parser.add_argument("--out", type=Path, default=Path("out/train"), help="directory of checkpoints and metrics (default: out/train)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint there")
    parser.add_argument("--start", type=Path, help="checkpoint whose averaged weights it begins with, for a training with other settings")
    parser.add_argument("--dry-run", action="store_true", help="say what will be read and what it will cost, and stop")
    add_overrides(parser, "run.steps=2000")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Also what each process of torchrun runs."""
    from wm_core.training.train import train

    train(config_of(chosen), chosen.overrides, chosen.out, chosen.resume, chosen.dry_run, print, chosen.start)
    return 0
