"""What the distance between pictures says near a goal, without any world model or search: what no planner can do better than.

    ./wm exec python benchmarks/near_goal.py [--encoder models/embedded/encoder] [--goals 40] [--camera front] [--size 96]

Around each goal the tool is put at random places up to 4 cm away, as it was turned there or turned by up to 0.25 rad about each axis. Of
those pictures the five that are nearest to the goal's are judged by where the tool is. Printed for the encoder's tokens, for blocks of
plain pixels, and for the true pose: how far away the chosen are, and what a turn of 0.1 rad about each axis changes, as the way that
changes as much.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from wm_core import configuration
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_task import reaching
from wm_core.robot import rotation
from wm_core.simulation import scene
from wm_core.simulation.camera import RayCamera
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.kinematics import ArmKinematics
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.load import load_encoder

CONFIG = Path(__file__).resolve().parents[1] / "config"
AWAY, TURN, CHOSEN = 0.04, 0.25, 5
STRAIGHT, TURNED = 150, 250  # pictures around each goal
KINDS = {"place": slice(1, 1 + STRAIGHT), "place and turn": slice(1 + STRAIGHT, 1 + STRAIGHT + TURNED)}
FIRST = 1000  # tasks that nothing else is measured on


class Poses:
    """The arm at any pose of the tool, without moving there."""

    def __init__(self, config, camera, size):
        self.model = scene.build(config.scene, config.physics_step)
        self.data = mujoco.MjData(self.model)
        self.camera = RayCamera(self.model, camera, size, size, config.shadows)
        self.kinematics, self.home = ArmKinematics(), np.array(config.home)

    def lay_out(self, objects):
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:6], self.q = self.home, self.home
        for name, pose in objects.items():
            self.data.joint(name).qpos = [*pose[:3, 3], *rotation.quaternion(pose[:3, :3])]

    def picture(self, pose):
        """(S, S, 3), or None where the arm does not reach."""
        for _ in range(30):
            self.q = self.kinematics.approach(pose, self.q)
        self.data.qpos[:6] = self.q
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        reached = np.linalg.norm(rotation.pose_error(pose, self.kinematics.forward(self.q))) < 1e-3
        return self.camera.render(self.data) if reached else None


def around(poses, goal, draws):
    """Pictures (N, S, S, 3), the goal's first, and how far (N, 6) m and rad each is from it."""
    pictures, offsets = [], []
    for index in range(1 + STRAIGHT + TURNED):
        way = draws.normal(size=3)
        way *= AWAY * np.sqrt(draws.uniform()) / np.linalg.norm(way) if index else 0.0
        turn = draws.uniform(-TURN, TURN, 3) if index > STRAIGHT else np.zeros(3)
        picture = poses.picture(rotation.pose(goal[:3, 3] + way, rotation.matrix(turn) @ goal[:3, :3]))
        offsets.append([*way, *turn] if picture is not None else [np.nan] * 6)
        pictures.append(picture if picture is not None else np.zeros_like(pictures[0]))
    return np.stack(pictures), np.array(offsets)


def chosen(distances, offsets, kind):
    """The mean distance, cm, and the mean angle about each axis, rad, of the nearest few of a kind."""
    ways, found = offsets[KINDS[kind]], distances[KINDS[kind]]
    nearest = np.argsort(np.where(np.isnan(ways[:, 0]), np.inf, found))[:CHOSEN]
    return [100 * np.linalg.norm(ways[nearest, :3], axis=1).mean(), *np.abs(ways[nearest, 3:]).mean(0)]


def worth(distances, offsets):
    """The way, cm, that changes as much as 0.1 rad about x, y and z, by a fit of distances to squares."""
    reached = ~np.isnan(offsets[:, 0])
    ways, found = offsets[reached], distances[reached]
    squares = np.stack([1e4 * (ways[:, :3] ** 2).sum(1), *(ways[:, 3:].T ** 2), np.ones(len(ways))], axis=1)
    way, *turns = np.linalg.lstsq(squares, found, rcond=None)[0][:4]
    return np.sqrt(np.maximum(0.01 * np.array(turns) / way, 0.0))


def measures(encoder):
    """By name, a function from pictures (N, S, S, 3) and offsets (N, 6) to the distance of each from the first."""

    def squared(features):
        return (features - features[:1]).square().flatten(1).mean(1).numpy()

    def channels_first(pictures):
        return torch.from_numpy(pictures).permute(0, 3, 1, 2)

    def pixels(pictures, block):
        return squared(avg_pool2d(channels_first(pictures).float() / 255, block))

    return {
        "tokens": lambda pictures, offsets: squared(torch.cat([encoder(part).patches for part in channels_first(pictures).split(64)])),
        "pixels by 4x4": lambda pictures, offsets: pixels(pictures, 4),
        "pixels": lambda pictures, offsets: pixels(pictures, 1),
        "true pose": lambda pictures, offsets: ((offsets / [*[0.02] * 3, *[0.1] * 3]) ** 2).sum(1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=str(CONFIG.parent / "models/embedded/encoder"))
    parser.add_argument("--goals", type=int, default=40)
    parser.add_argument("--camera", choices=scene.CAMERAS, default="front")
    parser.add_argument("--size", type=int, default=96, help="width and height of the pictures; other than the encoder's: pixels alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    config = configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
    tasks = replace(configuration.read(ControlConfig, CONFIG / "control.yaml").tasks.of("turn", options.goals), seed=771)
    arm, poses, draws = EmbeddedArm(config), Poses(config, options.camera, options.size), np.random.default_rng(11)
    ways = measures(load_encoder(options.encoder, torch.device("cpu")))
    if options.size != 96:
        del ways["tokens"]
    rows = {(name, kind): [] for name in ways for kind in KINDS}
    turns = {name: [] for name in ways}
    for index in range(options.goals):
        goal = reaching(tasks, arm, FIRST + index).goal
        poses.lay_out(arm.object_poses())
        pictures, offsets = around(poses, goal, draws)
        for name, way in ways.items():
            distances = way(pictures, offsets)
            turns[name].append(worth(distances, offsets))
            for kind in KINDS:
                rows[name, kind].append(chosen(distances, offsets, kind))
    for (name, kind), found in rows.items():
        way, *angles = np.mean(found, axis=0)
        told = "" if kind == "place" else f", turned by {' '.join(f'{angle:.3f}' for angle in angles)} rad about x, y, z"
        print(f"{name}, {kind}: {way:.2f} cm away (p90 {np.quantile(np.array(found)[:, 0], 0.9):.2f}){told}")
    for name in ways:
        print(f"{name}: 0.1 rad about x, y, z is worth {' '.join(f'{way:.2f}' for way in np.median(turns[name], axis=0))} cm")


if __name__ == "__main__":
    main()
