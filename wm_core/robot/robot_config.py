"""One robot in one file: where its description comes from, its frames, how it is commanded, and the limits its URDF lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.errors import RobotModelError
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.limits import ArmLimits, Limits, combine
from wm_core.robot.urdf import read_chain

OUTPUTS = ("delta", "twist", "joint_velocity")


@dataclass(frozen=True)
class Output:
    """How the arm is commanded."""

    kind: str = setting("what the arm is told: deltas of the tool, a twist for MoveIt Servo, or joint velocities", choices=OUTPUTS)
    topic: str = setting("topic of the command")
    gripper_topic: str = setting("topic of the gripper opening, for kinds that cannot carry it; empty: none", default="")
    servo: str = setting("name of the MoveIt Servo node, for kind twist", default="servo_node")


@dataclass(frozen=True)
class RobotConfig:
    """A 6-DoF arm; config/ur5e.yaml is the one that ships."""

    description_file: str = setting("path of the URDF; empty: it comes on the topic robot_description")
    base_link: str = setting("link that commands and poses are expressed in")
    tool_link: str = setting("link that is moved")
    output: Output = setting("how the arm is commanded")
    limits: ArmLimits = setting("what the URDF lacks")


@dataclass(frozen=True)
class Robot:
    """An arm as the guard and the controllers know it."""

    kinematics: Kinematics
    limits: Limits


def read_description(config: RobotConfig, source: Path) -> str | None:
    """The URDF text of the robot file at `source`, whose paths are relative to it; None when it comes on a topic."""
    if not config.description_file:
        return None
    path = source.parent / config.description_file
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RobotModelError("the URDF cannot be read", got=error, mend=f"correct description_file in {source}") from error


def read_robot(source: Path, description: str) -> Robot:
    """The robot of the robot file at `source` and a URDF text."""
    return build(configuration.read(RobotConfig, source), description, source)


def build(config: RobotConfig, description: str, source: Path) -> Robot:
    """The robot of a URDF text and the configuration that was read from `source`."""
    chain = read_chain(description, config.base_link, config.tool_link)
    return Robot(Kinematics(chain), combine(chain, config.limits, str(source)))
