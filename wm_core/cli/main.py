"""`wm VERB`: parse the command line and call the room that does the work."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from wm_core.errors import WmError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; an error of ours is one message and exit status 1."""
    parser = argparse.ArgumentParser(prog="wm", description="wm_ros: an arm that reaches goals given as pictures")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    demo = verbs.add_parser("demo", help="bring up the simulated arm behind its guard, move it, and leave a report with a picture")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="directory of the report (default: out/demo)")
    demo.set_defaults(run=run_demo)
    train = verbs.add_parser("train", help="train the world model on LeRobot datasets")
    train.add_argument(
        "--config", type=Path, default=Path("config/train_embedded.yaml"), help="what to train (default: the embedded model)"
    )
    train.add_argument("--out", type=Path, default=Path("out/train"), help="directory of checkpoints and metrics (default: out/train)")
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint there")
    train.add_argument("--dry-run", action="store_true", help="say what will be read and what it will cost, and stop")
    train.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings in place of the file's, e.g. run.steps=2000")
    train.set_defaults(run=run_train)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except WmError as error:
        print(f"wm: {error}", file=sys.stderr)
        return 1


def run_demo(chosen: argparse.Namespace) -> int:
    """The demonstration is a ROS program; this room knows no ROS, so it hands over to `ros2 run`."""
    if shutil.which("ros2") is None:
        raise WmError(
            "the demonstration needs the ros2 command line",
            got="none on PATH",
            mend="call it as ./wm demo, without WM_ROS_TOOLS=0, or source a ROS 2 with wm_ros",
        )
    os.execvp("ros2", ["ros2", "run", "wm_ros", "demo", "--out", str(chosen.out.resolve())])


def run_train(chosen: argparse.Namespace) -> int:
    """Only this verb waits for torch to be imported."""
    from wm_core.training.train import train

    train(chosen.config, chosen.overrides, chosen.out, chosen.resume, chosen.dry_run, say=print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
