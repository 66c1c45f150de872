"""Two arms for the kinematics tests, written out as URDF: one like a UR5e, one that no factory would build."""

from __future__ import annotations

import math

RIGHT = math.pi / 2
UR5E_DH = (  # a, alpha, d of the published Denavit-Hartenberg table
    (0.0, RIGHT, 0.1625),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, RIGHT, 0.1333),
    (0.0, -RIGHT, 0.0997),
    (0.0, 0.0, 0.0996),
)

LIMIT = '<limit lower="-6.2" upper="6.2" velocity="3.14" effort="100"/>'


def joint(name: str, parent: str, child: str, xyz: str, rpy: str, axis: str = "0 0 1", kind: str = "revolute", limit: str = LIMIT) -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>{limit if kind != "fixed" else ""}</joint>'
    )


def robot(links: list[str], joints: list[str]) -> str:
    return '<?xml version="1.0"?>\n<robot name="test">' + "".join(f'<link name="{link}"/>' for link in links) + "".join(joints) + "</robot>"


def ur5e_like() -> str:
    """Each joint turns about z; the offsets of a DH row come after its rotation."""
    links = ["base_link", *(f"link{index}" for index in range(1, 7)), "tool0"]
    joints = [joint("joint1", "base_link", "link1", "0 0 0", "0 0 0")]
    for index, (a, alpha, d) in enumerate(UR5E_DH[:5]):
        joints.append(joint(f"joint{index + 2}", f"link{index + 1}", f"link{index + 2}", f"{a} 0 {d}", f"{alpha!r} 0 0"))
    a, alpha, d = UR5E_DH[5]
    joints.append(joint("flange", "link6", "tool0", f"{a} 0 {d}", f"{alpha!r} 0 0", kind="fixed"))
    return robot(links, joints)


def odd_arm() -> str:
    """Skew, unnormalised axes, oblique offsets, fixed links in between, a continuous joint, and a gripper beside the chain."""
    links = ["world", "base_link", "a", "b", "c", "c_cover", "d", "e", "f", "hand", "tool0", "finger"]
    joints = [
        joint("mount", "world", "base_link", "1 2 3", "0.1 0.2 0.3", kind="fixed"),
        joint("one", "base_link", "a", "0.1 -0.05 0.3", "0.3 -0.2 0.9", "0.2 0.5 1.0"),
        joint("two", "a", "b", "0.02 0.11 0.2", "-1.1 0.4 0.2", "1 1 0", kind="continuous"),
        joint("three", "b", "c", "-0.3 0.07 0.04", "0.5 0.5 -0.7", "-0.3 2.0 0.1"),
        joint("cover", "c", "c_cover", "0.05 0.06 0.07", "0.9 -0.8 0.7", kind="fixed"),
        joint("four", "c_cover", "d", "0.25 0.0 -0.1", "2.0 0.1 -2.5", "0 0 -1"),
        joint("five", "d", "e", "0.0 0.13 0.09", "0.0 1.2 0.0", "1 0 0"),
        joint("six", "e", "f", "0.08 0.01 0.12", "-0.4 0.3 1.4", "0.5 -0.5 0.7"),
        joint("wrist_plate", "f", "hand", "0.0 0.0 0.05", "0.0 0.0 0.78", kind="fixed"),
        joint("tip", "hand", "tool0", "0.01 0.02 0.15", "0.2 0.0 -0.1", kind="fixed"),
        joint("finger_joint", "hand", "finger", "0 0.02 0", "0 0 0", "0 1 0", kind="prismatic"),
    ]
    return robot(links, joints)
