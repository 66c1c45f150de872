"""`wm collect`: a LeRobot dataset of the embedded arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_overrides, config_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("collect", help="collect a LeRobot dataset with the embedded arm")
    add_config(parser, "collect.yaml", "what to collect")
    parser.add_argument("--arm", type=Path, help="the arm and the look of its world (default: the shipped config/sim_arm.yaml)")
    parser.add_argument("--out", type=Path, required=True, help="directory of the dataset; it must not exist yet")
    add_overrides(parser, "episodes=60 seed=2")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The dataset appears whole or not at all."""
    from tqdm import tqdm

    from wm_core import configuration
    from wm_core.cli.shipped import shipped
    from wm_core.data.collect import CollectConfig, collect
    from wm_core.simulation.sim_config import SimConfig
    from wm_core.training.overrides import overridden

    config = overridden(configuration.read(CollectConfig, config_of(chosen)), chosen.overrides)
    arm = configuration.read(SimConfig, chosen.arm or shipped("sim_arm.yaml"))
    with tqdm(total=config.episodes, unit="episode", disable=None) as bar:
        report = collect(config, arm, chosen.out, progress=lambda done: bar.update(done - bar.n))
    print(report.text())
    return 0
