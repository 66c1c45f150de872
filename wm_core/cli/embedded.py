"""`wm embedded`: the whole embedded model from nothing, stage by stage; killed, it goes on where it was."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_overrides


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("embedded", help="make the whole embedded model: collect, train encoder, model and decoder, evaluate")
    parser.add_argument(
        "--out", type=Path, default=Path("out/embedded"), help="directory of everything; a run that was killed there goes on"
    )
    add_overrides(parser, "sets.train.episodes=100 encoder.steps=500 train.run.steps=2000")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The report is in OUT/evaluation/evaluation.md."""
    from wm_core.cli.embedded_stages import stages
    from wm_core.cli.stage_record import StageRecord

    chosen.out.mkdir(parents=True, exist_ok=True)
    seconds = StageRecord(chosen.out, _say).run(stages(chosen.out, chosen.overrides, _say))
    made = {"the model": "model", "its report": "evaluation", "what ships": "shipped"}
    where = ", ".join(f"{what} in {chosen.out / folder}" for what, folder in made.items())
    _say(f"{sum(seconds.values()):.0f} s in all; {where}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
