"""Protects: a URDF becomes a chain only when it is a 6-DoF arm with all its limits; everything else is refused by name."""

from __future__ import annotations

import math

import pytest
from robot_descriptions import joint, odd_arm, robot, ur5e_like

from wm_core.errors import RobotModelError
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as embedded


def test_names_and_limits_of_the_shipped_arm() -> None:
    chain = read_chain(embedded.urdf())
    assert chain.names == embedded.JOINTS
    assert [joint.upper for joint in chain.joints] == [segment.limit for segment in embedded.SEGMENTS]
    assert [joint.velocity for joint in chain.joints] == [segment.velocity for segment in embedded.SEGMENTS]


def test_a_gripper_beside_the_chain_is_ignored_and_continuous_joints_have_no_end() -> None:
    chain = read_chain(odd_arm())
    assert chain.names == ("one", "two", "three", "four", "five", "six")
    assert (chain.joints[1].lower, chain.joints[1].upper) == (-math.inf, math.inf)


def altered(old: str, new: str) -> str:
    text = ur5e_like()
    assert old in text
    return text.replace(old, new)


FIVE_JOINTS = robot(
    ["base_link", "b", "c", "d", "e", "tool0"],
    [joint(f"j{i}", p, c, "0 0 0.1", "0 0 0") for i, (p, c) in enumerate(zip(["base_link", *"bcde"], [*"bcde", "tool0"], strict=True))],
)

REFUSED = {
    "empty": ("", "empty"),
    "not XML": ("<robot", "cannot be read"),
    "not a robot": ("<sdf/>", "cannot be read"),
    "five joints": (FIVE_JOINTS, "j0 (revolute), j1 (revolute), j2 (revolute), j3 (revolute), j4 (revolute)"),
    "prismatic joint": (altered('name="joint3" type="revolute"', 'name="joint3" type="prismatic"'), "joint3 (prismatic)"),
    "no limit": (ur5e_like().replace('<limit lower="-6.2" upper="6.2" velocity="3.14" effort="100"/>', ""), "joint joint1 has no <limit>"),
    "no velocity": (ur5e_like().replace(' velocity="3.14"', ""), "limit 'velocity'"),
    "no lower": (ur5e_like().replace(' lower="-6.2"', ""), "limit 'lower'"),
    "NaN limit": (ur5e_like().replace('"3.14"', '"nan"'), "limit 'velocity' of joint joint1"),
    "negative velocity": (ur5e_like().replace('"3.14"', '"-3.14"'), "allows nothing"),
    "crossed limits": (ur5e_like().replace('lower="-6.2"', 'lower="7"'), "allows nothing"),
    "no axis": (ur5e_like().replace('axis xyz="0 0 1"', 'axis xyz="0 0 0"'), "has no axis"),
    "axis of two": (ur5e_like().replace('axis xyz="0 0 1"', 'axis xyz="0 1"'), "3 finite number"),
    "words": (ur5e_like().replace('axis xyz="0 0 1"', 'axis xyz="a b c"'), "3 finite number"),
    "loose tool": (altered('<parent link="link2"/>', '<parent link="tool0"/>'), "does not hang on"),
    "no parent": (altered('<parent link="link2"/>', ""), "no parent link"),
    "two parents": (altered("</robot>", joint("again", "base_link", "link3", "0 0 0", "0 0 0") + "</robot>"), "two parents"),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, says: str) -> None:
    with pytest.raises(RobotModelError) as error:
        read_chain(text)
    assert says in str(error.value)
    assert "mend:" in str(error.value)


def test_an_unknown_tool_link_names_the_nearest() -> None:
    with pytest.raises(RobotModelError, match="nearest: tool0"):
        read_chain(ur5e_like(), tool="tool1")
    with pytest.raises(RobotModelError, match="nearest: base_link"):
        read_chain(ur5e_like(), base="base")
