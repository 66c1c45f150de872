"""A robot description (URDF) read into the serial chain that leads from its base link to the tool."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from wm_core.errors import RobotModelError, nearest
from wm_core.robot.rotation import Array, matrix, pose

DEGREES_OF_FREEDOM = 6
MOVING, FIXED = ("revolute", "continuous"), "fixed"
MEND = "give the robot_description of a serial arm with six revolute joints and <limit> on each"


@dataclass(frozen=True)
class Joint:
    """A revolute joint: `origin` (4, 4) places it in the link of the joint before it, `axis` (3,) unit; rad, rad/s."""

    name: str
    origin: Array
    axis: Array
    child: str
    lower: float  # -inf for a continuous joint
    upper: float  # +inf for a continuous joint
    velocity: float


@dataclass(frozen=True)
class Chain:
    """Six joints from `base` to `tool`; `links` places every link on the way: name -> (index of its joint, or -1, and pose (4, 4))."""

    base: str
    tool: str
    joints: tuple[Joint, ...]
    links: dict[str, tuple[int, Array]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)


def read_chain(description: str, base: str = "base_link", tool: str = "tool0") -> Chain:
    """The chain from `base` to `tool` in the URDF text `description`; joints off that path, such as a gripper's, are ignored."""
    robot = _parse(description)
    links = [element.get("name", "") for element in robot.findall("link")]
    for link, role in ((tool, "tool"), (base, "base")):
        if link not in links:
            raise RobotModelError(f"the URDF has no {role} link", got=link, allowed=nearest(link, links), mend=f"change the {role} frame")
    path = _path(robot, base, tool)
    kinds = [element.get("type") for element in path]
    if any(kind not in (*MOVING, FIXED) for kind in kinds) or sum(kind in MOVING for kind in kinds) != DEGREES_OF_FREEDOM:
        found = ", ".join(f"{element.get('name')} ({element.get('type')})" for element in path if element.get("type") != FIXED)
        raise RobotModelError(
            f"the URDF is not a 6-DoF serial arm between {base} and {tool}",
            got=found or "no moving joint",
            allowed="six revolute or continuous joints, any number of fixed ones",
            mend=MEND,
        )
    return _chain(base, tool, path)


def _parse(description: str) -> ET.Element:
    if not description.strip():
        raise RobotModelError("the URDF is empty", mend="publish robot_description or give the path of a URDF")
    try:
        robot = ET.fromstring(description)
    except (ET.ParseError, ValueError) as error:
        raise RobotModelError("the URDF cannot be read", got=error, allowed="well-formed XML", mend=MEND) from error
    if robot.tag != "robot":
        raise RobotModelError("the URDF cannot be read", got=f"<{robot.tag}>", allowed="<robot> at the top", mend=MEND)
    return robot


def _path(robot: ET.Element, base: str, tool: str) -> list[ET.Element]:
    """The joint elements from `base` to `tool`, found by walking up from the tool."""
    above: dict[str, ET.Element] = {}
    for joint in robot.findall("joint"):
        child = _link_of(joint, "child")
        if child in above:
            raise RobotModelError(f"link {child} has two parents", got=f"{above[child].get('name')}, {joint.get('name')}", mend=MEND)
        above[child] = joint
    path: list[ET.Element] = []
    link = tool
    while link != base:
        if link not in above or above[link] in path:
            raise RobotModelError(f"{tool} does not hang on {base}", got=f"the chain ends at {link}", mend="change the base or tool frame")
        path.insert(0, above[link])
        link = _link_of(above[link], "parent")
    return path


def _chain(base: str, tool: str, path: list[ET.Element]) -> Chain:
    joints: list[Joint] = []
    links: dict[str, tuple[int, Array]] = {base: (-1, np.eye(4))}
    since_joint = np.eye(4)
    for element in path:
        since_joint = since_joint @ _origin(element)
        child = _link_of(element, "child")
        if element.get("type") != FIXED:
            joints.append(_joint(element, since_joint, child))
            since_joint = np.eye(4)
        links[child] = (len(joints) - 1, since_joint)
    return Chain(base, tool, tuple(joints), links)


def _joint(element: ET.Element, origin: Array, child: str) -> Joint:
    name = element.get("name", "")
    axis = _numbers(element.find("axis"), "xyz", (1.0, 0.0, 0.0), name)
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        raise RobotModelError(f"joint {name} has no axis", got=axis, allowed="a vector that is not zero", mend=MEND)
    limit = element.find("limit")
    if limit is None:
        raise RobotModelError(f"joint {name} has no <limit>", allowed="<limit lower= upper= velocity=>", mend=MEND)
    continuous = element.get("type") == "continuous"
    lower = -math.inf if continuous else _attribute(limit, "lower", name)
    upper = math.inf if continuous else _attribute(limit, "upper", name)
    velocity = _attribute(limit, "velocity", name)
    if lower >= upper or velocity < 0.0:
        got = f"lower {lower}, upper {upper}, velocity {velocity}"
        raise RobotModelError(f"joint {name} has a <limit> that allows nothing", got=got, allowed="lower < upper, velocity >= 0", mend=MEND)
    return Joint(name, origin, axis / length, child, lower, upper, velocity)


def _attribute(limit: ET.Element, key: str, joint: str) -> float:
    text = limit.get(key)
    if text is None:
        raise RobotModelError(f"joint {joint} has no limit '{key}'", allowed=f'<limit {key}="a number">', mend=MEND)
    return _finite((text,), f"limit '{key}' of joint {joint}")[0]


def _link_of(joint: ET.Element, role: str) -> str:
    element = joint.find(role)
    name = None if element is None else element.get("link")
    if name is None:
        raise RobotModelError(f"joint {joint.get('name')} has no {role} link", allowed=f'<{role} link="...">', mend=MEND)
    return name


def _origin(joint: ET.Element) -> Array:
    """The pose (4, 4) of <origin>: a translation in metres, then roll, pitch, yaw about the fixed x, y, z axes in rad."""
    name = joint.get("name", "")
    element = joint.find("origin")
    roll, pitch, yaw = np.diag(_numbers(element, "rpy", (0.0, 0.0, 0.0), name))
    rotation = matrix(yaw) @ matrix(pitch) @ matrix(roll)
    return pose(_numbers(element, "xyz", (0.0, 0.0, 0.0), name), rotation)


def _numbers(element: ET.Element | None, key: str, default: tuple[float, ...], joint: str) -> Array:
    text = None if element is None else element.get(key)
    return np.array(default) if text is None else _finite(text.split(), f"'{key}' of joint {joint}", 3)


def _finite(words: list[str] | tuple[str, ...], what: str, count: int = 1) -> Array:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([math.nan])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise RobotModelError(f"{what} is not valid", got=" ".join(words), allowed=f"{count} finite number(s)", mend=MEND)
    return numbers
