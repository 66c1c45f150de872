"""The embedded arm: one table of constants, written out as a URDF (for ROS and the guard) and as an MJCF (for the physics).

The chain has the published dimensions, masses and limits of a UR5e; all shapes are cylinders and boxes, so no mesh file is needed.
`base_link` is the base frame of the Denavit-Hartenberg table. The wrist carries a two-finger gripper, and `tool0`, the frame that
commands move, lies where its fingers close: `TOOL_LENGTH` beyond the flange, z pointing out of the gripper, y along the fingers' travel.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wm_core.robot.rotation import Array

Triple = tuple[float, float, float]
Axis = Literal["x", "y", "z"]

RIGHT = math.pi / 2
TOOL_LENGTH = 0.15
FINGER_TRAVEL = 0.045  # metres that each finger moves between closed and open
HOME = (2.871729028541, -1.535617891922, 1.894188257929, -1.929366692802, -RIGHT, -1.840659951844)
"""Joint positions, rad, of a tool that points straight down at (0.5, 0, 0.2) m with its x axis forward."""

WHITE: Triple = (0.86, 0.87, 0.89)
BLUE: Triple = (0.20, 0.52, 0.80)
DARK: Triple = (0.20, 0.21, 0.24)
ORANGE: Triple = (1.0, 0.50, 0.05)


@dataclass(frozen=True)
class Shape:
    """A cylinder (size: radius, length) along `axis`, or a box (size: full extents); `position` of its centre; metres, colour 0..1."""

    kind: Literal["cylinder", "box"]
    size: tuple[float, ...]
    position: Triple
    axis: Axis
    colour: Triple

    def rpy(self) -> Triple:
        """The rotation that lays a cylinder's z axis along `axis`; about a single axis, so URDF's and MuJoCo's angles agree."""
        return {"x": (0.0, RIGHT, 0.0), "y": (RIGHT, 0.0, 0.0), "z": (0.0, 0.0, 0.0)}[self.axis]

    def volume(self) -> float:
        return math.pi * self.size[0] ** 2 * self.size[1] if self.kind == "cylinder" else math.prod(self.size)

    def unit_inertia(self) -> Array:
        """Diagonal of the inertia per kilogram about the shape's own centre, (3,) m^2, in the axes of the link."""
        if self.kind == "box":
            squares = np.square(self.size)
            return (squares.sum() - squares) / 12.0
        radius, length = self.size
        across = (3.0 * radius**2 + length**2) / 12.0
        return np.where([self.axis == name for name in "xyz"], radius**2 / 2.0, across)


def tube(axis: Axis, radius: float, start: float, end: float, colour: Triple, at: Triple = (0.0, 0.0, 0.0)) -> Shape:
    """A cylinder along `axis` from `start` to `end`, displaced by `at`; metres."""
    centre = np.array(at)
    centre["xyz".index(axis)] += 0.5 * (start + end)
    x, y, z = centre
    return Shape("cylinder", (radius, abs(end - start)), (x, y, z), axis, colour)


def box(size: Triple, position: Triple, colour: Triple) -> Shape:
    """A box of full extents `size` along the link's axes; metres."""
    return Shape("box", size, position, "z", colour)


@dataclass(frozen=True)
class Segment:
    """A revolute joint and the link it moves.

    The joint stands at Tx(a) Rx(alpha) Tz(d) in the link before it: `a` and `alpha` are those of the previous row of the
    Denavit-Hartenberg table, `d` its own. Limits: rad, rad/s, Nm; stiffness Nm/rad, damping Nm s/rad; mass kg.
    """

    joint: str
    link: str
    a: float
    alpha: float
    d: float
    limit: float
    velocity: float
    effort: float
    stiffness: float
    damping: float
    mass: float
    shapes: tuple[Shape, ...]

    def position(self) -> Triple:
        return (self.a, -math.sin(self.alpha) * self.d, math.cos(self.alpha) * self.d)

    def rpy(self) -> Triple:
        return (self.alpha, 0.0, 0.0)


BASE_MASS = 4.0
BASE_SHAPES = (tube("z", 0.085, 0.0, 0.03, DARK), tube("z", 0.072, 0.03, 0.09, WHITE))

SEGMENTS = (
    Segment(
        *("shoulder_pan_joint", "shoulder_link", 0.0, 0.0, 0.1625, 2 * math.pi, math.pi, 150.0, 8000.0, 250.0, 3.761),
        (
            tube("z", 0.062, -0.072, 0.045, WHITE),
            tube("y", 0.062, 0.045, -0.075, WHITE),
            tube("y", 0.058, 0.045, 0.068, BLUE),
        ),
    ),
    Segment(
        *("shoulder_lift_joint", "upper_arm_link", 0.0, RIGHT, 0.0, 2 * math.pi, math.pi, 150.0, 8000.0, 250.0, 8.058),
        (
            tube("z", 0.062, 0.075, 0.195, WHITE),
            tube("z", 0.058, 0.195, 0.215, BLUE),
            tube("x", 0.047, -0.03, -0.40, WHITE, at=(0.0, 0.0, 0.137)),
            tube("z", 0.054, 0.080, 0.190, WHITE, at=(-0.425, 0.0, 0.0)),
            tube("z", 0.050, 0.190, 0.208, BLUE, at=(-0.425, 0.0, 0.0)),
        ),
    ),
    Segment(
        *("elbow_joint", "forearm_link", -0.425, 0.0, 0.0, math.pi, math.pi, 150.0, 8000.0, 250.0, 2.846),
        (
            tube("z", 0.054, -0.040, 0.080, WHITE),
            tube("z", 0.050, -0.060, -0.040, BLUE),
            tube("x", 0.038, -0.03, -0.37, WHITE, at=(0.0, 0.0, 0.017)),
            tube("z", 0.043, -0.030, 0.080, WHITE, at=(-0.3922, 0.0, 0.0)),
            tube("z", 0.040, -0.048, -0.030, BLUE, at=(-0.3922, 0.0, 0.0)),
        ),
    ),
    Segment(
        *("wrist_1_joint", "wrist_1_link", -0.3922, 0.0, 0.1333, 2 * math.pi, math.pi, 28.0, 1500.0, 40.0, 1.37),
        (
            tube("z", 0.043, -0.053, 0.043, WHITE),
            tube("z", 0.040, 0.043, 0.060, BLUE),
            tube("y", 0.043, 0.0, -0.055, WHITE),
        ),
    ),
    Segment(
        *("wrist_2_joint", "wrist_2_link", 0.0, RIGHT, 0.0997, 2 * math.pi, math.pi, 28.0, 1500.0, 40.0, 1.3),
        (
            tube("z", 0.043, -0.045, 0.043, WHITE),
            tube("z", 0.040, 0.043, 0.060, BLUE),
            tube("y", 0.043, 0.0, 0.055, WHITE),
        ),
    ),
    Segment(
        *("wrist_3_joint", "wrist_3_link", 0.0, -RIGHT, 0.0996, 2 * math.pi, math.pi, 28.0, 1500.0, 40.0, 0.365),
        (tube("z", 0.040, -0.045, 0.0, WHITE),),
    ),
)

JOINTS = tuple(segment.joint for segment in SEGMENTS)
FINGERS = ("left_finger", "right_finger")
FINGER_JOINTS = tuple(f"{finger}_joint" for finger in FINGERS)
GRIPPER_MASS, FINGER_MASS = 0.8, 0.08
GRIPPER_FORCE, GRIPPER_SPEED = 60.0, 0.15
GRIPPER_SHAPES = (tube("z", 0.036, 0.0, 0.02, DARK), box((0.060, 0.150, 0.045), (0.0, 0.0, 0.0425), DARK))


def finger_shapes(side: float) -> tuple[Shape, ...]:
    """Shapes of the closed finger on the `side` (+1 or -1) of tool y: a beam, and the pad whose inner face is at y = 0."""
    return (
        box((0.030, 0.022, 0.055), (0.0, side * 0.016, 0.090), ORANGE),
        box((0.026, 0.016, 0.055), (0.0, side * 0.008, TOOL_LENGTH - 0.015), ORANGE),
    )


def inertial(mass: float, shapes: tuple[Shape, ...]) -> tuple[Array, Array]:
    """Centre of mass (3,) m and inertia about it (3, 3) kg m^2 of `mass` spread evenly over the volume of `shapes`."""
    weights = np.array([shape.volume() for shape in shapes])
    weights *= mass / weights.sum()
    centres = np.array([shape.position for shape in shapes])
    centre = weights @ centres / mass
    inertia = np.zeros((3, 3))
    for weight, shape, offset in zip(weights, shapes, centres - centre, strict=True):
        inertia += weight * (np.diag(shape.unit_inertia()) + offset @ offset * np.eye(3) - np.outer(offset, offset))
    return centre, inertia


def urdf() -> str:
    """The robot description: visual and collision shapes, inertias, joint limits; the right finger mimics the left one."""
    robot = ET.Element("robot", name="wm_arm")
    _urdf_link(robot, "base_link", BASE_MASS, BASE_SHAPES)
    parent = "base_link"
    for segment in SEGMENTS:
        joint = _urdf_joint(robot, segment.joint, "revolute", parent, segment.link, segment.position(), segment.rpy())
        _urdf_limits(joint, (0.0, 0.0, 1.0), -segment.limit, segment.limit, segment.velocity, segment.effort)
        _urdf_link(robot, segment.link, segment.mass, segment.shapes)
        parent = segment.link
    _urdf_joint(robot, "tool0_joint", "fixed", parent, "tool0", (0.0, 0.0, TOOL_LENGTH))
    ET.SubElement(robot, "link", name="tool0")
    _urdf_joint(robot, "gripper_joint", "fixed", parent, "gripper_link")
    _urdf_link(robot, "gripper_link", GRIPPER_MASS, GRIPPER_SHAPES)
    for side, finger in zip((1.0, -1.0), FINGERS, strict=True):
        joint = _urdf_joint(robot, f"{finger}_joint", "prismatic", "gripper_link", f"{finger}_link")
        _urdf_limits(joint, (0.0, side, 0.0), 0.0, FINGER_TRAVEL, GRIPPER_SPEED, GRIPPER_FORCE)
        if finger != FINGERS[0]:
            ET.SubElement(joint, "mimic", joint=FINGER_JOINTS[0])
        _urdf_link(robot, f"{finger}_link", FINGER_MASS, finger_shapes(side))
    return _document(robot)


def mjcf() -> str:
    """The arm alone as a MuJoCo model: position actuators named after the joints, gravity compensated, `tool0` a site."""
    root = ET.Element("mujoco", model="wm_arm")
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    body = ET.SubElement(ET.SubElement(root, "worldbody"), "body", name="base_link")
    _mjcf_link(body, BASE_MASS, BASE_SHAPES)
    actuators = ET.SubElement(root, "actuator")
    for segment in SEGMENTS:
        body = _mjcf_body(body, segment.link, segment.position(), segment.rpy())
        limit = _text(-segment.limit, segment.limit)
        ET.SubElement(body, "joint", name=segment.joint, axis="0 0 1", range=limit, armature="0.1")
        _mjcf_link(body, segment.mass, segment.shapes)
        _mjcf_actuator(actuators, segment.joint, segment.stiffness, segment.damping, segment.effort)
    ET.SubElement(body, "site", name="tool0", pos=_text(0.0, 0.0, TOOL_LENGTH), size="0.005", group="4")
    gripper = _mjcf_body(body, "gripper_link")
    _mjcf_link(gripper, GRIPPER_MASS, GRIPPER_SHAPES)
    for side, finger in zip((1.0, -1.0), FINGERS, strict=True):
        body = _mjcf_body(gripper, f"{finger}_link")
        axis, travel = _text(0.0, side, 0.0), _text(0.0, FINGER_TRAVEL)
        ET.SubElement(body, "joint", name=f"{finger}_joint", type="slide", axis=axis, range=travel, armature="0.5")
        _mjcf_link(body, FINGER_MASS, finger_shapes(side), friction="1.5 0.02 0.001", condim="4")
    _mjcf_actuator(actuators, FINGER_JOINTS[0], 1500.0, 100.0, GRIPPER_FORCE)
    equality = ET.SubElement(root, "equality")
    gear = {"joint1": FINGER_JOINTS[1], "joint2": FINGER_JOINTS[0], "polycoef": "0 1 0 0 0", "solref": "0.005 1"}
    ET.SubElement(equality, "joint", {"name": "finger_gear", **gear})
    return _document(root)


def _document(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _text(*numbers: float) -> str:
    """Numbers as text that reads back to the very same numbers."""
    return " ".join(repr(float(number)) for number in numbers)


def _urdf_joint(
    robot: ET.Element, name: str, kind: str, parent: str, child: str, xyz: Triple = (0.0, 0.0, 0.0), rpy: Triple = (0.0, 0.0, 0.0)
) -> ET.Element:
    joint = ET.SubElement(robot, "joint", name=name, type=kind)
    ET.SubElement(joint, "origin", xyz=_text(*xyz), rpy=_text(*rpy))
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    return joint


def _urdf_limits(joint: ET.Element, axis: Triple, lower: float, upper: float, velocity: float, effort: float) -> None:
    ET.SubElement(joint, "axis", xyz=_text(*axis))
    ET.SubElement(joint, "limit", lower=_text(lower), upper=_text(upper), velocity=_text(velocity), effort=_text(effort))


def _urdf_link(robot: ET.Element, name: str, mass: float, shapes: tuple[Shape, ...]) -> None:
    link = ET.SubElement(robot, "link", name=name)
    centre, tensor = inertial(mass, shapes)
    body = ET.SubElement(link, "inertial")
    ET.SubElement(body, "origin", xyz=_text(*centre), rpy="0 0 0")
    ET.SubElement(body, "mass", value=_text(mass))
    entries = {"ixx": (0, 0), "iyy": (1, 1), "izz": (2, 2), "ixy": (0, 1), "ixz": (0, 2), "iyz": (1, 2)}
    ET.SubElement(body, "inertia", {entry: _text(tensor[index]) for entry, index in entries.items()})
    for shape in shapes:
        for purpose in ("visual", "collision"):
            element = ET.SubElement(link, purpose)
            ET.SubElement(element, "origin", xyz=_text(*shape.position), rpy=_text(*shape.rpy()))
            _urdf_geometry(ET.SubElement(element, "geometry"), shape)
            if purpose == "visual":
                material = ET.SubElement(element, "material", name="colour_" + "_".join(f"{part:g}" for part in shape.colour))
                ET.SubElement(material, "color", rgba=_text(*shape.colour, 1.0))


def _urdf_geometry(geometry: ET.Element, shape: Shape) -> None:
    if shape.kind == "box":
        ET.SubElement(geometry, "box", size=_text(*shape.size))
    else:
        ET.SubElement(geometry, "cylinder", radius=_text(shape.size[0]), length=_text(shape.size[1]))


def _mjcf_body(parent: ET.Element, name: str, pos: Triple = (0.0, 0.0, 0.0), rpy: Triple = (0.0, 0.0, 0.0)) -> ET.Element:
    return ET.SubElement(parent, "body", name=name, pos=_text(*pos), euler=_text(*rpy), gravcomp="1")


def _mjcf_link(body: ET.Element, mass: float, shapes: tuple[Shape, ...], **contact: str) -> None:
    """Inertia and geoms of a link; contype 2 against conaffinity 0 lets the arm touch the world but not itself."""
    centre, tensor = inertial(mass, shapes)
    full = _text(*np.diag(tensor), tensor[0, 1], tensor[0, 2], tensor[1, 2])
    ET.SubElement(body, "inertial", pos=_text(*centre), mass=_text(mass), fullinertia=full)
    for shape in shapes:
        size = (shape.size[0], shape.size[1] / 2) if shape.kind == "cylinder" else tuple(extent / 2 for extent in shape.size)
        pose = {"pos": _text(*shape.position), "euler": _text(*shape.rpy())}
        look = {"rgba": _text(*shape.colour, 1.0), "contype": "2", "conaffinity": "0"}
        ET.SubElement(body, "geom", {"type": shape.kind, "size": _text(*size), **pose, **look, **contact})


def _mjcf_actuator(actuators: ET.Element, joint: str, stiffness: float, damping: float, effort: float) -> None:
    gains = {"kp": _text(stiffness), "kv": _text(damping), "forcerange": _text(-effort, effort)}
    ET.SubElement(actuators, "position", {"name": joint, "joint": joint, **gains})
