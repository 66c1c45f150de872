"""`wm plan`: from a picture of now to a picture of the goal, without an arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_core.cli.arguments import add_config, add_models, add_overrides, config_of

HOME = (0.5, 0.0, 0.2, 3.141593, 0.0, 0.0)


def add(verbs: Any) -> None:
    """The verb's arguments."""
    parser = verbs.add_parser("plan", help="plan from a picture of now to a picture of the goal; nothing moves")
    parser.add_argument("now", type=Path, help="picture of the scene as it is")
    parser.add_argument("goal", type=Path, help="picture of the scene as it shall become, from the same camera")
    parser.add_argument(
        "--mask", type=Path, help="picture, of the goal's shape at any size, whose bright parts are what counts of the goal"
    )
    add_models(parser)
    parser.add_argument("--decoder", type=Path, help="draws what is imagined (default: the embedded one, where the encoder is too)")
    told = "where the tool is now: position (m) and rotation vector (rad) in the base frame (default: the embedded arm's home)"
    parser.add_argument("--pose", type=float, nargs=6, default=HOME, metavar=("X", "Y", "Z", "RX", "RY", "RZ"), help=told)
    parser.add_argument("--gripper", type=float, default=1.0, help="its opening, 0 closed .. 1 open (default: 1)")
    add_config(parser, "planner.yaml", "how plans are searched for")
    parser.add_argument("--seed", type=int, default=0, help="what every draw comes from (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out/plan"), help="directory of plan.json and the strip (default: out/plan)")
    add_overrides(parser, "search.samples=128")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit status 0 says that there is a plan, be it to stay."""
    import time

    import torch

    from wm_core import configuration
    from wm_core.cli.shipped import model as embedded
    from wm_core.cli.shipped import shipped
    from wm_core.evaluation import plan_report
    from wm_core.planning import offline
    from wm_core.planning.goal import goal_of_file, mask_of_file, masked
    from wm_core.planning.planner_config import PlannerConfig, search_of
    from wm_core.robot.guard_config import GuardConfig
    from wm_core.robot.reach import pose_of
    from wm_core.robot.robot_config import read_robot
    from wm_core.simulation import arm
    from wm_core.training.overrides import overridden
    from wm_core.vision.decoder import load_decoder
    from wm_core.vision.load import load_encoder
    from wm_core.world_model.world_model import WorldModel

    config = overridden(configuration.read(PlannerConfig, config_of(chosen)), chosen.overrides)
    tool, robot = pose_of(tuple(chosen.pose)), read_robot(shipped("ur5e.yaml"), arm.urdf())
    encoder = load_encoder(chosen.encoder, torch.device("cpu"))
    now, goal = goal_of_file(encoder, chosen.now), goal_of_file(encoder, chosen.goal)
    if chosen.mask:
        goal = masked(goal, mask_of_file(chosen.mask), encoder.preprocessing)
    model = WorldModel.open(chosen.model, engine=config.engine)
    search = search_of(config, configuration.read(GuardConfig, shipped("safety_guard.yaml")), robot, offline.step_of(model))
    start = offline.Start(now, tool, chosen.gripper)
    found = offline.look_ahead(model, start, goal, offline.Planning(config, search, time.perf_counter, chosen.seed))
    poses = offline.path(tool, found.plan.actions)
    print(plan_report.text(found, poses))
    print(plan_report.write(found, poses, chosen.out))
    folder = chosen.decoder or embedded("decoder")
    if (chosen.decoder or folder.is_dir()) and found.frames.shape[1] == now.latents.shape[0]:
        decoder = load_decoder(folder, encoder, torch.device("cpu"))
        print(plan_report.draw(decoder, now.latents, found.frames, goal.latents, chosen.out))
    return 0
