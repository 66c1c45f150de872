"""`wm evaluate control`: how well goals given as pictures are reached."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wm_core.cli.arguments import add_config, add_models, add_overrides, config_of
from wm_core.errors import WmError

if TYPE_CHECKING:
    from wm_core.evaluation.control_config import ControlConfig
    from wm_core.planning.planner_config import PlannerConfig

PLANNER = "planner."


def add(verbs: Any) -> None:
    """The verb's arguments."""
    what = "let policies reach goals that are given as pictures, and compare them"
    parser = verbs.add_parser("evaluate control", help=what, description=f"{what}. Finished trials are kept: the same command goes on.")
    add_config(parser, "control.yaml", "tasks, policies, domain shifts and the judge")
    add_models(parser)
    parser.add_argument("--deterministic", type=Path, help="a model trained without shortcut forcing, for policy 'deterministic'")
    parser.add_argument("--planner", type=Path, help="how plans are searched for (default: the shipped config/planner.yaml)")
    parser.add_argument("--arm", type=Path, help="the arm and the look of its world (default: the shipped config/sim_arm.yaml)")
    parser.add_argument("--out", type=Path, default=Path("out/control"), help="directory of the report (default: out/control)")
    parser.add_argument("--ros", action="store_true", help="over ROS in real time: the nodes of the launch file, through /plan_to_goal")
    add_overrides(parser, "tasks.trials=20 kinds=[reach] planner.search.samples=128")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that it was measured."""
    if chosen.ros:
        over_ros(chosen)
    from wm_core import configuration
    from wm_core.cli.shipped import config_folder, shipped
    from wm_core.evaluation.evaluate_control import Setup, evaluate_control
    from wm_core.simulation.sim_config import SimConfig

    config, planner = configs(config_of(chosen), chosen.planner or shipped("planner.yaml"), chosen.overrides)
    setup = Setup(
        config=config,
        planner=planner,
        arm=configuration.read(SimConfig, chosen.arm or shipped("sim_arm.yaml")),
        shipped=config_folder(),
        encoder=chosen.encoder,
        model=chosen.model,
        deterministic=chosen.deterministic,
        out=chosen.out,
    )
    for one in evaluate_control(setup, print):
        print(f"{one.kind}, {one.scene}, {one.policy}: {one.successes} of {one.trials} ({one.low:.2f} .. {one.high:.2f})")
    print(chosen.out / "control.md")
    return 0


def configs(control: Path, planner: Path, overrides: Sequence[str]) -> tuple[ControlConfig, PlannerConfig]:
    """Both files with the settings in place of theirs; those of the planner begin with `planner.`."""
    from wm_core import configuration
    from wm_core.evaluation.control_config import ControlConfig
    from wm_core.planning.planner_config import PlannerConfig
    from wm_core.training.overrides import overridden

    own = [word for word in overrides if not word.startswith(PLANNER)]
    searched = [word.removeprefix(PLANNER) for word in overrides if word.startswith(PLANNER)]
    return overridden(configuration.read(ControlConfig, control), own), overridden(configuration.read(PlannerConfig, planner), searched)


def over_ros(chosen: argparse.Namespace) -> None:
    """The nodes are ROS programs; this room knows no ROS, so it hands over to `ros2 run`."""
    apart = [f"--{name}" for name in ("deterministic", "arm") if getattr(chosen, name)]
    if apart:
        allowed, mend = "--config, --planner, --model, --encoder, --out", "leave it out, or evaluate in lock-step, without --ros"
        raise WmError("over ROS this cannot be told", got=", ".join(apart), allowed=allowed, mend=mend)
    together = chosen.model.absolute().parent
    if chosen.model.name != "world_model" or Path(chosen.encoder).absolute() != together / "encoder":
        got, allowed = f"{chosen.model} and {chosen.encoder}", "DIR/world_model and DIR/encoder"
        raise WmError("over ROS world model and encoder come from one folder", got=got, allowed=allowed, mend="--model and --encoder")
    if shutil.which("ros2") is None:
        mend = "call it as ./wm evaluate control --ros, without WM_ROS_TOOLS=0, or source a ROS 2 with wm_ros"
        raise WmError("evaluating over ROS needs the ros2 command line", got="none on PATH", mend=mend)
    words = ["--config", str(config_of(chosen).resolve()), "--model", str(together), "--out", str(chosen.out.resolve())]
    words += ["--planner", str(chosen.planner.resolve())] if chosen.planner else []
    os.execvp("ros2", ["ros2", "run", "wm_ros", "evaluate_control", *words, *chosen.overrides])
