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


if __name__ == "__main__":
    sys.exit(main())
