"""`wm train-encoder`: an embedded encoder from the pictures of one camera."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_overrides, add_pictures, config_of, pictures_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("train-encoder", help="train an encoder for one camera on a dataset's pictures, without labels")
    add_config(parser, "encoder_convolutional.yaml", "the recipe; encoder_masked.yaml and encoder_distilled.yaml ship too")
    add_pictures(parser)
    parser.add_argument("--out", type=Path, required=True, help="directory of the encoder; a training that was killed there goes on")
    add_overrides(parser, "steps=500 network.dim=64")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """A training that was killed goes on when the same command is given again."""
    import torch

    from wm_core.device import torch_device
    from wm_core.training.encoder_run import run_encoder

    torch.set_num_threads(chosen.threads)
    run_encoder(config_of(chosen), chosen.overrides, pictures_of(chosen), chosen.out, torch_device(), print)
    return 0
