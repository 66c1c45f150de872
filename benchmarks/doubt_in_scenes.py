"""Whether the controller's doubt tells scenes that training never showed from those it did, and at what price in others.

    ./wm exec python benchmarks/doubt_in_scenes.py [--kind reach] [--tasks 12] [--seconds 6] [--scenes as_trained,light]

The planner goes for the first tasks of `wm evaluate control` in each of its scenes, in lock-step; after each second the doubt is asked as
the controller asks it. A goal would be given up where two looks in a row are above the `doubt` of config/mpc_controller.yaml.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from wm_core import configuration
from wm_core.evaluation.control import run
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_policy import Planner
from wm_core.evaluation.control_task import task
from wm_core.evaluation.evaluate_control import AS_TRAINED, Bench, Setup, fidelities
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.doubt import doubt
from wm_core.planning.goal import goal_of_picture
from wm_core.planning.planner_config import PlannerConfig
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

ROOT = Path(__file__).resolve().parents[1]
CONFIG, MODELS = ROOT / "config", ROOT / "models" / "embedded"


class Doubting(Planner):
    """Plans as ever; after every `every` steps it is asked how sure it is."""

    def __init__(self, bench, kind, every):
        planner, model = bench.setup.planner, bench.model
        super().__init__(model, bench.encoder, bench.search(kind), fidelities(planner, model), planner.distance, planner.frames)
        self._every, self._steps = every, 0
        self.looks = []

    def begin(self, drawn, generator):
        super().begin(drawn, generator)
        self._goal = goal_of_picture(self._encoder, drawn.picture, "goal")
        self._steps, self.looks = 0, []

    def act(self, observation):
        decision = super().act(observation)
        self._steps += 1
        if self._steps % self._every == 0:
            seen = self._history.seen(self._frames, self._search.bounds.seconds, np.zeros((0, 7)))
            self.looks.append(doubt(self._model, self._goal, seen, np.tile(decision.action, (self._search.config.horizon, 1))))
        return decision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="reach")
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--scenes", default="", help="by name, divided by commas; empty: all")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration.read(ControlConfig, CONFIG / "control.yaml")
    config = replace(config, judge=replace(config.judge, seconds=chosen.seconds))
    planner, arm = configuration.read(PlannerConfig, CONFIG / "planner.yaml"), configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    limit = configuration.read(ControllerConfig, CONFIG / "mpc_controller.yaml").doubt
    one_process = replace(planner, engine=replace(planner.engine, workers=0))
    setup = Setup(config, one_process, arm, CONFIG, str(MODELS / "encoder"), MODELS / "world_model", None, Path())
    bench = Bench(setup)
    every = round(1.0 / bench.step)
    print(f"| scene | tasks | reached | first look | median look | pairs of looks | given up, above {limit:g} |")
    print("|---|---|---|---|---|---|---|")
    for scene in chosen.scenes.split(",") if chosen.scenes else (AS_TRAINED, *config.shifts.scenes):
        world, asked = EmbeddedArm(setup.arm_of(scene)), config.tasks.of(chosen.kind, chosen.tasks)
        policy = Doubting(bench, chosen.kind, every)
        looks, reached = [], 0
        for index in range(chosen.tasks):
            reached += run(policy, world, task(asked, world, index), asked, config.judge, bench.step, 0).success
            looks.append(policy.looks)
        told = np.array(looks)
        pairs = np.minimum(told[:, 1:], told[:, :-1]).max(axis=1)
        ranges = f"{told[:, 0].min():.2f} .. {told[:, 0].max():.2f} | {np.median(told):.2f} | {pairs.min():.2f} .. {pairs.max():.2f}"
        print(f"| {scene} | {chosen.tasks} | {reached} | {ranges} | {int((pairs > limit).sum())} |", flush=True)


if __name__ == "__main__":
    main()
