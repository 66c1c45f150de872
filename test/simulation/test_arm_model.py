"""Protects the one table of constants: URDF, MJCF, the published Denavit-Hartenberg numbers and limits tell of the same arm."""

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.robot import rotation
from wm_core.simulation import arm
from wm_core.simulation.kinematics import ArmKinematics

pinocchio = pytest.importorskip("pinocchio")

# d, a, alpha of each joint as published for the UR5e; the tool adds a last translation along z.
PUBLISHED = (
    (0.1625, 0.0, np.pi / 2),
    (0.0, -0.425, 0.0),
    (0.0, -0.3922, 0.0),
    (0.1333, 0.0, np.pi / 2),
    (0.0997, 0.0, -np.pi / 2),
    (0.0996, 0.0, 0.0),
)
JOINT_POSITIONS = st.lists(st.floats(-np.pi, np.pi), min_size=6, max_size=6).map(np.array)


def closed_form(q):
    pose = np.eye(4)
    for (d, a, alpha), angle in zip(PUBLISHED, q, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])
    return pose @ rotation.pose(np.array([0.0, 0.0, arm.TOOL_LENGTH]), np.eye(3))


@pytest.fixture(scope="module")
def described():
    model = pinocchio.buildModelFromXML(arm.urdf())
    return model, model.createData()


@pytest.fixture(scope="module")
def simulated():
    model = mujoco.MjModel.from_xml_string(arm.mjcf())
    return model, mujoco.MjData(model)


@settings(max_examples=200)
@given(q=JOINT_POSITIONS)
def test_mjcf_urdf_and_closed_form_put_the_tool_in_the_same_place(described, q):
    model, data = described
    pinocchio.framesForwardKinematics(model, data, np.concatenate([q, np.zeros(2)]))
    expected = closed_form(q)
    np.testing.assert_allclose(ArmKinematics().forward(q), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(data.oMf[model.getFrameId("tool0")].homogeneous, expected, rtol=0, atol=1e-9)


@settings(max_examples=30)
@given(q=JOINT_POSITIONS, fingers=st.floats(0.0, arm.FINGER_TRAVEL))
def test_mjcf_and_urdf_have_the_same_mass_matrix(described, simulated, q, fingers):
    model, data = described
    physics, state = simulated
    posture = np.concatenate([q, [fingers, fingers]])
    expected = pinocchio.crba(model, data, posture)
    expected = np.triu(expected) + np.triu(expected, 1).T
    state.qpos[:] = posture
    mujoco.mj_forward(physics, state)
    dense = np.zeros((physics.nv, physics.nv))
    for column in range(physics.nv):
        unit, product = np.eye(physics.nv)[column], np.zeros(physics.nv)
        mujoco.mj_mulM(physics, state, product, unit)
        dense[:, column] = product
    np.testing.assert_allclose(dense - np.diag(physics.dof_armature), expected, rtol=0, atol=1e-9)


def test_home_points_the_tool_straight_down_in_front_of_the_arm():
    expected = rotation.pose(np.array([0.5, 0.0, 0.2]), np.diag([1.0, -1.0, -1.0]))
    np.testing.assert_allclose(closed_form(arm.HOME), expected, rtol=0, atol=1e-9)


def test_urdf_and_mjcf_carry_the_published_limits(simulated):
    physics, _ = simulated
    robot = ET.fromstring(arm.urdf())
    found = {joint.get("name"): joint.find("limit") for joint in robot.iter("joint") if joint.get("type") == "revolute"}
    assert tuple(found) == arm.JOINTS == tuple(physics.joint(index).name for index in range(6))
    efforts, travels = (150, 150, 150, 28, 28, 28), (2, 2, 1, 2, 2, 2)
    for name, effort, travel in zip(arm.JOINTS, efforts, travels, strict=True):
        limit = {key: float(value) for key, value in found[name].attrib.items()}
        assert limit == pytest.approx({"lower": -travel * np.pi, "upper": travel * np.pi, "velocity": np.pi, "effort": effort})
        np.testing.assert_allclose(physics.joint(name).range, [-travel * np.pi, travel * np.pi])
        np.testing.assert_allclose(physics.actuator(name).forcerange, [-effort, effort])


def test_urdf_is_complete_without_any_file_beside_it(described):
    robot = ET.fromstring(arm.urdf())
    assert not list(robot.iter("mesh"))
    for link in robot.iter("link"):
        if link.get("name") != "tool0":
            assert len(link.findall("visual")) == len(link.findall("collision")) > 0
    masses = {
        link.get("name"): float(link.find("inertial/mass").get("value")) for link in robot.iter("link") if link.find("inertial") is not None
    }
    assert [masses[segment.link] for segment in arm.SEGMENTS] == [3.761, 8.058, 2.846, 1.37, 1.3, 0.365]


def test_inertias_are_those_that_mujoco_finds_for_the_shapes(simulated):
    ours, _ = simulated
    document = ET.fromstring(arm.mjcf())
    document.find("compiler").set("inertiafromgeom", "true")
    theirs = mujoco.MjModel.from_xml_string(ET.tostring(document, encoding="unicode"))
    scale = (ours.body_mass / np.maximum(theirs.body_mass, 1e-12))[:, None]
    np.testing.assert_allclose(ours.body_ipos, theirs.body_ipos, atol=1e-9)
    moments = np.sort(ours.body_inertia), np.sort(scale * theirs.body_inertia)  # each model orders the principal axes its own way
    np.testing.assert_allclose(*moments, rtol=1e-6, atol=1e-12)


def test_every_link_has_a_possible_inertia(described):
    model, _ = described
    for body in list(model.inertias)[1:]:
        moments = np.linalg.eigvalsh(body.inertia)
        assert moments[0] > 0.0
        assert moments[2] <= moments[0] + moments[1] + 1e-12


@settings(max_examples=50)
@given(
    shift=st.tuples(*[st.floats(-0.15, 0.15)] * 3).map(np.array),
    turn=st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(np.array),
)
def test_inverse_kinematics_arrives_where_forward_kinematics_says(shift, turn):
    kinematics = ArmKinematics()
    q = np.array(arm.HOME)
    start = kinematics.forward(q)
    goal = rotation.pose(start[:3, 3] + shift, rotation.matrix(turn) @ start[:3, :3])
    for share in np.linspace(0.05, 1.0, 20):
        between = rotation.pose(start[:3, 3] + share * shift, rotation.matrix(share * turn) @ start[:3, :3])
        q = kinematics.approach(between, q)
    q = kinematics.approach(goal, q)
    np.testing.assert_allclose(closed_form(q), goal, rtol=0, atol=1e-6)
