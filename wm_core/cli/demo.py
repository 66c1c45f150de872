"""`wm demo`: the simulated arm behind its guard."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from wm_core.errors import WmError


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("demo", help="bring up the simulated arm behind its guard, move it, and leave a report with a picture")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="directory of the report (default: out/demo)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The demonstration is a ROS program; this room knows no ROS, so it hands over to `ros2 run`."""
    if shutil.which("ros2") is None:
        raise WmError(
            "the demonstration needs the ros2 command line",
            got="none on PATH",
            mend="call it as ./wm demo, without WM_ROS_TOOLS=0, or source a ROS 2 with wm_ros",
        )
    os.execvp("ros2", ["ros2", "run", "wm_ros", "demo", "--out", str(chosen.out.resolve())])
