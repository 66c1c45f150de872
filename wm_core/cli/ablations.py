"""`wm ablations`: what each part of the recipe is worth, by training without it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_overrides, config_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("ablations", help="train variants of the world model side by side and compare them")
    add_config(parser, "ablations.yaml", "the variants, and how long each is trained")
    parser.add_argument("--out", type=Path, default=Path("out/ablations"), help="directory of the report (default: out/ablations)")
    add_overrides(parser, "steps=500")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Variants that are there already are not trained again."""
    from wm_core.evaluation.ablations import ablate

    ablate(config_of(chosen), chosen.overrides, chosen.out, print)
    return 0
