"""`wm demo`: the mission, a goal given as a picture and reached; with --guard, the arm behind its guard alone."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from wm_core.errors import WmError


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("demo", help="bring up the whole system, give it goals as pictures, and leave a report with a picture")
    parser.add_argument("--guard", action="store_true", help="the arm behind its guard instead: a pose, a square, and too much of both")
    parser.add_argument("--out", type=Path, help="directory of the report (default: out/demo, or out/guard_demo)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The demonstration is a ROS program; this room knows no ROS, so it hands over to `ros2 run`."""
    if shutil.which("ros2") is None:
        raise WmError(
            "the demonstration needs the ros2 command line",
            got="none on PATH",
            mend="call it as ./wm demo, without WM_ROS_TOOLS=0, or source a ROS 2 with wm_ros",
        )
    name = "guard_demo" if chosen.guard else "demo"
    out = chosen.out or Path("out") / name
    os.execvp("ros2", ["ros2", "run", "wm_ros", name, "--out", str(out.resolve())])
