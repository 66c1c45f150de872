"""`wm demo`: the mission, a goal given as a picture and reached; with --guard, the arm behind its guard; with --loop, learning a change."""

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
    loop = "the scene changes instead, and the model learns from what is recorded there; the same command goes on"
    parser.add_argument("--loop", action="store_true", help=loop)
    parser.add_argument("--episodes", type=int, help="with --loop: how many are recorded (default: as config/loop.yaml says)")
    parser.add_argument("--trials", type=int, help="with --loop: trials of each measurement (default: as config/loop.yaml says)")
    parser.add_argument("--out", type=Path, help="directory of the report (default: out/demo, out/guard_demo or out/loop)")
    parser.set_defaults(run=lambda chosen: run_loop(chosen) if chosen.loop else run(chosen))


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


def run_loop(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that at least two thirds of what was lost came back."""
    from wm_core import configuration
    from wm_core.cli import loop_stages
    from wm_core.cli.shipped import shipped
    from wm_core.evaluation.loop_config import LoopConfig
    from wm_core.training.overrides import overridden

    given = {"recording.episodes": chosen.episodes, "trials.count": chosen.trials}
    changes = [f"{name}={value}" for name, value in given.items() if value is not None]
    config = overridden(configuration.read(LoopConfig, shipped("loop.yaml")), changes)
    out = chosen.out or Path("out") / "loop"
    loop = loop_stages.run(out, config, _say)
    print(f"{loop.outcome}; {out / 'loop.md'}")
    return 0 if loop.recovered >= 2.0 / 3.0 else 1


def _say(line: str) -> None:
    """Also from the processes that trials are divided among."""
    print(line, flush=True)
