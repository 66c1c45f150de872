"""The contract that a verb reads bags by: a recording configuration, and the robot of a robot file, a URDF or the bag itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wm_core.data.bag import Bag
    from wm_core.data.recording_config import Contract


def add_contract(parser: argparse.ArgumentParser) -> None:
    """--contract, --robot and --urdf."""
    parser.add_argument("--contract", type=Path, help="what is read (default: the shipped config/record_lerobot.yaml)")
    parser.add_argument("--robot", type=Path, help="robot file (default: the shipped config/ur5e.yaml)")
    parser.add_argument("--urdf", type=Path, help="the robot's URDF (default: that of a bag that is read, else the embedded arm's)")


def contract_of(chosen: argparse.Namespace, bag: Bag | None = None) -> Contract:
    """The contract for a bag, or for one that is to be written."""
    from wm_core import configuration
    from wm_core.cli.shipped import shipped
    from wm_core.data.recording_config import Contract, RecordingConfig
    from wm_core.robot.robot_config import RobotConfig
    from wm_core.simulation import arm

    config = configuration.read(RecordingConfig, chosen.contract or shipped("record_lerobot.yaml"))
    robot = configuration.read(RobotConfig, chosen.robot or shipped("ur5e.yaml"))
    urdf = chosen.urdf.read_text(encoding="utf-8") if chosen.urdf else (bag.description if bag else "") or arm.urdf()
    return Contract(config, urdf, robot.base_link, robot.tool_link)
