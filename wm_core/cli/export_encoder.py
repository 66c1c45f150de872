"""`wm export-encoder`: an encoder as an ONNX file, to be run by onnxruntime in its place."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import ENCODER


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("export-encoder", help="write an encoder as an ONNX file, which every --encoder takes in its place")
    parser.add_argument("encoder", help=ENCODER)
    parser.add_argument("--out", type=Path, required=True, help="the file, *.onnx; one that is there is replaced")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The file is compared with the encoder before it stays."""
    import torch

    from wm_core.vision.encoder import require_network
    from wm_core.vision.load import load_encoder
    from wm_core.vision.onnx_encoder import export_onnx

    encoder = require_network(load_encoder(chosen.encoder, torch.device("cpu")), "an export")
    export_onnx(encoder, chosen.out)
    rows, columns = encoder.grid
    print(f"{encoder.name} {encoder.weight_hash[:12]} at {chosen.out}: {rows}x{columns} tokens of {encoder.dim} channels")
    return 0
