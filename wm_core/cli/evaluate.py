"""`wm evaluate`: how good a world model is, and whether it may be planned with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_overrides, config_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("evaluate", help="measure a world model on held-out episodes and say whether it may be planned with")
    parser.add_argument("checkpoint", type=Path, help="directory of a checkpoint, or one that holds several: the newest is taken")
    add_config(parser, "evaluate.yaml", "on what, and the thresholds of the verdict")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="directory of the report (default: out/evaluate)")
    add_overrides(parser, "error.seeds=4")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that it was measured; what was found is in the report and in the checkpoint's verdict."""
    from wm_core.evaluation.evaluate import evaluate

    found = evaluate(chosen.checkpoint, config_of(chosen), chosen.overrides, chosen.out, print)
    print(f"may be planned with: {'yes' if found.verdict.may_plan else 'no'}; {chosen.out / 'evaluation.md'}")
    return 0
