"""`wm train-decoder`: from an encoder's tokens back to pictures, for looking at what a model imagines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import ENCODER, add_config, add_overrides, add_pictures, config_of, pictures_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("train-decoder", help="train a decoder that makes pictures of an encoder's tokens, for looking")
    add_config(parser, "decoder.yaml", "the decoder and its training")
    parser.add_argument("--encoder", required=True, help=ENCODER)
    add_pictures(parser)
    parser.add_argument("--out", type=Path, required=True, help="directory of the decoder")
    add_overrides(parser, "steps=500")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """No model is trained through a decoder."""
    import torch

    from wm_core.device import torch_device
    from wm_core.training.encoder_run import run_decoder

    torch.set_num_threads(chosen.threads)
    run_decoder(config_of(chosen), chosen.overrides, chosen.encoder, pictures_of(chosen), chosen.out, torch_device(), print)
    return 0
