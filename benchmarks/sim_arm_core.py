"""How fast the embedded arm is without ROS: control steps, pictures, and the share of one core that real time takes.

    python benchmarks/sim_arm_core.py [seconds of simulated time per measurement]

Times are CPU seconds of this process, so that other load on the machine does not enter them.
"""

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wm_core import configuration
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.scene import CAMERAS
from wm_core.simulation.sim_config import SimConfig

CONFIG = Path(__file__).resolve().parents[1] / "config" / "sim_arm.yaml"


def circle(moment):
    """Tool speed (3,) m/s of a circle of 5 cm radius at 0.25 m/s."""
    return 0.25 * np.array([np.cos(5.0 * moment), np.sin(5.0 * moment), 0.0])


def control_steps(config, seconds, camera):
    """Policy steps of 0.1 s (command, 0.1 s of physics, a picture if asked) per CPU second, and the same in control periods."""
    moving, count = EmbeddedArm(config, 0), int(10 * seconds)
    start = time.process_time()
    for _ in range(count):
        moving.command_delta(0.1 * circle(moving.time), np.zeros(3), 1.0, 0.1)
        moving.advance(0.1)
        if camera:
            moving.render(camera)
    spent = time.process_time() - start
    periods = 0.1 / (config.control_steps * config.physics_step)
    return count / spent, count * periods / spent


def pictures(config, camera, count):
    moving = EmbeddedArm(config, 0)
    start = time.process_time()
    for _ in range(count):
        moving.render(camera)
    return count / (time.process_time() - start)


def real_time_share(config, seconds):
    """CPU seconds per simulated second with commands at 200 Hz, joint states at 100 Hz and the front camera at 10 Hz; error in mm."""
    moving, errors = EmbeddedArm(config, 0), []
    start = time.process_time()
    for tick in range(int(200 * seconds)):
        moving.command_delta(0.005 * circle(moving.time), np.zeros(3), 1.0, 0.005)
        moving.advance(0.004 if tick % 2 else 0.006)
        if tick % 2:
            _ = moving.joint_positions, moving.joint_velocities
            errors.append(np.linalg.norm(moving.tool_pose()[:3, 3] - moving.commanded_pose()[:3, 3]))
        if tick % 20 == 0:
            moving.render("front")
    return (time.process_time() - start) / seconds, 1000 * np.mean(errors), 1000 * np.max(errors)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    config = configuration.read(SimConfig, CONFIG)
    for camera in (None, "front"):
        policy, periods = control_steps(config, seconds, camera)
        print(f"camera {camera or 'none':5}: {policy:6.0f} policy steps of 0.1 s per s, {periods:6.0f} control periods per s")
    for size in (96, 224, 384):
        sized = dataclasses.replace(config, width=size, height=size)
        rates = {camera: pictures(sized, camera, int(max(10, 10 * seconds * (96 / size) ** 2))) for camera in CAMERAS}
        print(f"{size:3} px: " + ", ".join(f"{camera} {rate:.0f} images/s" for camera, rate in rates.items()))
    bare = dataclasses.replace(config, shadows=False)
    print(f" 96 px without shadows: front {pictures(bare, 'front', int(10 * seconds)):.0f} images/s")
    share, mean, largest = real_time_share(config, seconds)
    print(f"real time takes {100 * share:.1f} % of a core; tracking error {mean:.1f} mm mean, {largest:.1f} mm max")


if __name__ == "__main__":
    main()
