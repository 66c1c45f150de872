"""The configuration of the embedded arm, as it stands in config/sim_arm.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.simulation.scene import CAMERAS, Scene


@dataclass(frozen=True)
class Workspace:
    """The axis-aligned box, in base_link, that delta commands cannot move the commanded tool out of."""

    low: tuple[float, float, float] = setting("Smallest x, y, z of tool0 in base_link", unit="m", low=-2.0, high=2.0)
    high: tuple[float, float, float] = setting("Largest x, y, z of tool0 in base_link", unit="m", low=-2.0, high=2.0)


@dataclass(frozen=True)
class SimConfig:
    """Everything that makes one embedded arm different from another, except the seed's draws."""

    mode: str = setting("Whose clock drives the physics: the wall's, or the commands'", choices=("real_time", "lock_step"))
    seed: int = setting("Seed of the object layout at start and after a reset", low=0, high=2**31 - 1, live=True)
    cameras: tuple[str, ...] = setting("Cameras that are published", choices=CAMERAS)
    width: int = setting("Width of every camera image", unit="pixels", low=16, high=2048)
    height: int = setting("Height of every camera image", unit="pixels", low=16, high=2048)
    shadows: bool = setting("Whether the light casts a hard shadow; images cost a third less without")
    camera_rate: float = setting("Rate of each camera in simulated time", unit="Hz", low=0.1, high=100.0)
    joint_state_rate: float = setting("Rate of the joint states in simulated time", unit="Hz", low=1.0, high=500.0)
    transform_rate: float = setting("Rate of the frames of links and cameras on /tf", unit="Hz", low=0.1, high=100.0)
    physics_step: float = setting("Time step of the physics", unit="s", low=0.0005, high=0.004)
    control_steps: int = setting("Physics steps per control period, in which the joint targets are renewed once", low=1, high=10)
    command_timeout: float = setting("The arm stops by itself this long after its last command", unit="s", low=0.02, high=0.5)
    home: tuple[float, float, float, float, float, float] = setting(
        "Joint positions at start, from the base", unit="rad", low=-6.28, high=6.28
    )
    workspace: Workspace = setting("Where delta commands may move the tool")
    scene: Scene = setting("Light, colours, camera shift and distractor")
