"""What an encoder's distances are worth for control, with no world model in between: reaching by search in the true simulator.

    python benchmarks/encoder_control.py TRAIN [NAME=FOLDER ...] [--goals N] [--baselines]

TRAIN is a labelled set of the embedded arm (for the spread of each channel and the principal components), FOLDER a trained encoder. The
tool starts 15 to 35 cm from where it stood in the goal's picture and has 20 steps of at most 4 cm. At each step a search of two rounds
tries motions in a copy of the simulator; the one whose picture's tokens are nearest the goal's is done. A goal is reached within d if the
tool is within d of it after each of the last three steps. All encoders get the same goals and the same draws.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import embedded_arm_frames
from encoders import baselines, tokens

from wm_core import configuration
from wm_core.data.motion import shortened, towards
from wm_core.evaluation.control import wilson
from wm_core.robot import rotation
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.load import load_encoder

CONFIG = Path(__file__).resolve().parents[1] / "config"
STEPS, STEP, PERIOD = 20, 0.04, 0.1
FIRST, SECOND, CLOSER = 8, 4, 0.3  # motions of the two rounds; the second's spread, of a step
LOW, HIGH = np.array([0.32, -0.28, 0.12]), np.array([0.62, 0.28, 0.36])  # metres: above the objects
NEAREST, FARTHEST = 0.15, 0.35
WITHIN = (0.02, 0.03)


@dataclass(frozen=True)
class Task:
    """Where a search begins, and the picture (S, S, 3) it is to end at, with the tool at `place` (3,) m."""

    start: object
    picture: np.ndarray
    place: np.ndarray


def tasks(arm, count):
    """Goals and starts, the same at every call."""
    for index in range(count):
        generator = np.random.default_rng([7, index])
        arm.reset(int(generator.integers(2**31)))
        goal = generator.uniform(LOW, HIGH)
        start = goal
        while not NEAREST <= np.linalg.norm(start - goal) <= FARTHEST:
            start = generator.uniform(LOW, HIGH)
        go(arm, goal)
        picture, place = arm.render("front"), arm.tool_pose()[:3, 3]
        go(arm, start)
        yield Task(arm.snapshot(), picture, place)


def go(arm, place):
    """Move the tool to `place` (3,) m and wait until it stands there."""
    goal = rotation.pose(place, arm.commanded_pose()[:3, :3])
    while np.linalg.norm(rotation.pose_error(goal, tool := arm.commanded_pose())) > 1e-6:
        delta = towards(goal, tool, 2 * STEP, np.pi, arm.gripper)
        arm.command_delta(delta.translation, delta.rotation, None, PERIOD)
        arm.advance(PERIOD)
    arm.advance(3 * PERIOD)


def move(arm, before, shift):
    arm.restore(before)
    arm.command_delta(shift, np.zeros(3), None, PERIOD)
    arm.advance(PERIOD)


def reach(arm, task, cost, generator):
    """The tool's distances (STEPS,) m from the goal after each step of a search for small `cost(arm)`."""
    now, distances = task.start, []
    for _ in range(STEPS):
        tried = []
        for attempt in range(FIRST + SECOND):
            if attempt < FIRST:
                shift = shortened(generator.uniform(-STEP, STEP, 3), STEP) if attempt else np.zeros(3)
            else:
                shift = shortened(min(tried, key=lambda pair: pair[0])[1] + CLOSER * STEP * generator.normal(size=3), STEP)
            move(arm, now, shift)
            tried.append((cost(arm), shift))
        move(arm, now, min(tried, key=lambda pair: pair[0])[1])
        now = arm.snapshot()
        distances.append(np.linalg.norm(arm.tool_pose()[:3, 3] - task.place))
    return np.array(distances)


def latent_cost(encode, frames, picture):
    """The cost |(z - z_goal) / spread|^2, with the spread of every channel over `frames` (N, S, S, 3)."""
    spread = tokens(encode, frames).flatten(0, 1).std(dim=0).clamp_min(1e-6)
    goal = tokens(encode, picture[None]) / spread
    return lambda arm: float((tokens(encode, arm.render("front")[None]) / spread - goal).square().mean())


def row(name, ends, seconds):
    """`ends` (goals, 3): the last three distances, m."""
    cells = []
    for distance in WITHIN:
        reached = int((ends.max(axis=1) <= distance).sum())
        low, high = wilson(reached, len(ends), z=1.645)  # 90 %
        cells.append(f"{reached} of {len(ends)} ({low:.2f}-{high:.2f})")
    print(f"| {name} | {' | '.join(cells)} | {100 * np.median(ends[:, -1]):.1f} | {seconds:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("encoders", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--goals", type=int, default=20)
    parser.add_argument("--baselines", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = embedded_arm_frames.load(arguments.train)[0]
    sample = frames.reshape(-1, *frames.shape[2:])[:: max(1, frames.shape[0] * frames.shape[1] // 1000)]
    known = baselines(frames) if arguments.baselines else {}
    for named in arguments.encoders:
        name, _, folder = named.partition("=")
        encoder = load_encoder(folder, torch.device("cpu"))
        known[name] = lambda part, encoder=encoder: encoder(part).patches
    arm = EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"))
    given = list(tasks(arm, arguments.goals))
    print("| cost | within 2 cm | within 3 cm | median end, cm | CPU s |\n|---|---|---|---|---|")

    def ends(cost_of):
        return np.array([reach(arm, task, cost_of(task), np.random.default_rng([8, index]))[-3:] for index, task in enumerate(given)])

    start = time.process_time()
    oracle = ends(lambda task: lambda arm: float(np.linalg.norm(arm.tool_pose()[:3, 3] - task.place)))
    row("the tool's true distance", oracle, time.process_time() - start)
    for name, encode in known.items():
        start = time.process_time()
        row(name, ends(lambda task, encode=encode: latent_cost(encode, sample, task.picture)), time.process_time() - start)


if __name__ == "__main__":
    main()
