"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wm_core.training.dataset_frames import FrameSource

OVERRIDES = "settings in place of the file's, e.g. {}; dots lead into sections"
ENCODER = "a published name such as dinov3_vitb16, a YAML such as encoder_dinov3.yaml, the directory of an embedded one, or an ONNX file"


def add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    """Any number of KEY=VALUE at the end of the line."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=OVERRIDES.format(example))
    parser.set_defaults(example=example)


def add_config(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    """--config, which defaults to the shipped file of this name."""
    parser.add_argument("--config", type=Path, help=f"{what} (default: the shipped config/{name})")
    parser.set_defaults(shipped_config=name)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Which pictures to train on, and on what."""
    parser.add_argument("--dataset", type=Path, required=True, help="directory of a LeRobot v3 dataset, all episodes of one length")
    parser.add_argument(
        "--description",
        default="embedded_arm",
        help="its description: a YAML, or the name of one that ships in config/datasets (default: embedded_arm)",
    )
    parser.add_argument("--camera", default="front", help="role of the camera in that description (default: front)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")


def pictures_of(chosen: argparse.Namespace) -> FrameSource:
    """The pictures that `add_pictures` asked for."""
    from wm_core.cli.shipped import description
    from wm_core.training.dataset_frames import FrameSource

    return FrameSource(chosen.dataset, description(chosen.description), chosen.camera)


def add_models(parser: argparse.ArgumentParser) -> None:
    """--model and --encoder, which default to the embedded ones."""
    from wm_core.cli.shipped import model

    parser.add_argument("--model", type=Path, default=model("world_model"), help="world model: a checkpoint (default: the embedded one)")
    parser.add_argument("--encoder", default=str(model("encoder")), help=f"{ENCODER} (default: the embedded one)")


def config_of(chosen: argparse.Namespace) -> Path:
    """The file that was given, or the shipped one."""
    from wm_core.cli.shipped import shipped

    return chosen.config or shipped(chosen.shipped_config)
