"""`wm evaluate replay`: what a model makes of a recording, from the file alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_models, add_overrides, config_of
from wm_core.cli.recording_contract import add_contract, contract_of


def add(verbs: Any) -> None:
    """The verb's arguments."""
    what = "replay a bag through encoder, model and planner, and compare with what came and what was done"
    parser = verbs.add_parser("evaluate replay", help=what, description=what)
    parser.add_argument("bag", type=Path, help="a rosbag2 directory, an .mcap file, or DATASET.journal/NUMBER of a recorder")
    add_config(parser, "replay.yaml", "how often and how far it is predicted and planned")
    add_models(parser)
    add_contract(parser)
    parser.add_argument("--planner", type=Path, help="how plans are searched for (default: the shipped config/planner.yaml)")
    parser.add_argument("--decoder", type=Path, help="draws what is imagined (default: the embedded one, where the encoder is too)")
    parser.add_argument("--out", type=Path, default=Path("out/replay"), help="directory of the report (default: out/replay)")
    add_overrides(parser, "plans=50 stride=0.1")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that it was measured."""
    import torch

    from wm_core import configuration
    from wm_core.cli.shipped import model, shipped
    from wm_core.data.bag import Bag
    from wm_core.evaluation.replay import replayed
    from wm_core.evaluation.replay_config import ReplayConfig
    from wm_core.evaluation.replay_report import Models, report
    from wm_core.training.overrides import overridden
    from wm_core.vision.load import load_encoder

    torch.set_num_threads(1)
    config = overridden(configuration.read(ReplayConfig, config_of(chosen)), chosen.overrides)
    bag = Bag(chosen.bag)
    contract = contract_of(chosen, bag)
    encoder = load_encoder(chosen.encoder, torch.device("cpu"))
    own = model("decoder") if chosen.encoder == str(model("encoder")) else None
    files = (chosen.planner or shipped("planner.yaml"), shipped("safety_guard.yaml"), chosen.robot or shipped("ur5e.yaml"))
    models = Models(chosen.model, chosen.decoder or own, *files)
    replay = replayed(bag, encoder, contract)
    print(report(replay, models, config, chosen.bag.name, chosen.out))
    return 0
