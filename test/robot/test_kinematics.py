"""Protects: poses and Jacobians, against pinocchio on three arms, the Denavit-Hartenberg table, and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pinocchio
import pytest
from robot_descriptions import UR5E_DH, odd_arm, ur5e_like

from wm_core.errors import RobotModelError
from wm_core.robot.inverse_kinematics import UnreachableError, solve_pose
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.rotation import pose_error
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as embedded

POSES = 1000
ARMS = {"ur5e-like": ur5e_like(), "odd arm": odd_arm(), "embedded arm": embedded.urdf()}


class Oracle:
    """Pinocchio's opinion on the same URDF, expressed in our base link."""

    def __init__(self, description: str, names: tuple[str, ...]) -> None:
        self.model = pinocchio.buildModelFromXML(description)
        self.data = self.model.createData()
        self.names = names
        self.columns = [self.model.joints[self.model.getJointId(name)].idx_v for name in names]

    def configuration(self, q: Any) -> Any:
        full = pinocchio.neutral(self.model)
        for name, angle in zip(self.names, q, strict=True):
            moving = self.model.joints[self.model.getJointId(name)]
            full[moving.idx_q : moving.idx_q + moving.nq] = (np.cos(angle), np.sin(angle)) if moving.nq == 2 else (angle,)
        return full

    def link(self, name: str, q: Any) -> Any:
        pinocchio.framesForwardKinematics(self.model, self.data, self.configuration(q))
        base = self.data.oMf[self.model.getFrameId("base_link")]
        return (base.inverse() * self.data.oMf[self.model.getFrameId(name)]).homogeneous

    def jacobian(self, q: Any) -> Any:
        tool = self.model.getFrameId("tool0")
        frame = pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
        full = pinocchio.computeFrameJacobian(self.model, self.data, self.configuration(q), tool, frame)[:, self.columns]
        pinocchio.framesForwardKinematics(self.model, self.data, self.configuration(q))
        to_base = self.data.oMf[self.model.getFrameId("base_link")].rotation.T
        return np.vstack([to_base @ full[:3], to_base @ full[3:]])


@pytest.fixture(params=ARMS.values(), ids=ARMS.keys())
def description(request: Any) -> str:
    return str(request.param)


def test_agrees_with_pinocchio_to_1e_10(description: str) -> None:
    kinematics = Kinematics(read_chain(description))
    oracle = Oracle(description, kinematics.names)
    rng = np.random.default_rng(1)
    for q in rng.uniform(-2 * np.pi, 2 * np.pi, (POSES, 6)):
        posture = kinematics.posture(q)
        np.testing.assert_allclose(posture.tool, oracle.link("tool0", q), rtol=0, atol=1e-10)
        np.testing.assert_allclose(posture.jacobian(), oracle.jacobian(q), rtol=0, atol=1e-10)


def test_every_link_agrees_with_pinocchio(description: str) -> None:
    kinematics = Kinematics(read_chain(description))
    oracle = Oracle(description, kinematics.names)
    for q in np.random.default_rng(2).uniform(-3.0, 3.0, (20, 6)):
        for name in kinematics.chain.links:
            np.testing.assert_allclose(kinematics.link_pose(name, q), oracle.link(name, q), rtol=0, atol=1e-10)


def test_agrees_with_the_denavit_hartenberg_table() -> None:
    kinematics = Kinematics(read_chain(ur5e_like()))
    for q in np.random.default_rng(3).uniform(-3.0, 3.0, (100, 6)):
        pose = np.eye(4)
        for angle, (a, alpha, d) in zip(q, UR5E_DH, strict=True):
            c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
            pose = pose @ [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
        np.testing.assert_allclose(kinematics.tool_pose(q), pose, rtol=0, atol=1e-12)


def test_the_jacobian_is_the_derivative_of_the_pose(description: str) -> None:
    kinematics = Kinematics(read_chain(description))
    h = 1e-6
    for q in np.random.default_rng(4).uniform(-3.0, 3.0, (20, 6)):
        columns = [pose_error(kinematics.tool_pose(q + h * e), kinematics.tool_pose(q - h * e)) / (2 * h) for e in np.eye(6)]
        np.testing.assert_allclose(kinematics.jacobian(q), np.array(columns).T, rtol=0, atol=1e-8)


def test_an_unknown_link_is_named() -> None:
    with pytest.raises(RobotModelError, match="nearest: link3"):
        Kinematics(read_chain(ur5e_like())).link_pose("link_3", np.zeros(6))


def test_inverse_kinematics_reaches_what_forward_kinematics_says(description: str) -> None:
    kinematics = Kinematics(read_chain(description))
    rng = np.random.default_rng(5)
    for q in rng.uniform(-2.0, 2.0, (50, 6)):
        target = kinematics.tool_pose(q)
        found = solve_pose(kinematics, target, q + rng.uniform(-0.15, 0.15, 6))
        assert np.abs(pose_error(target, kinematics.tool_pose(found))).max() < 2e-6


def test_inverse_kinematics_refuses_what_is_out_of_reach() -> None:
    kinematics = Kinematics(read_chain(ur5e_like()))
    target = np.eye(4)
    target[:3, 3] = (2.0, 0.0, 0.5)
    with pytest.raises(UnreachableError, match=r"m and .* rad away"):
        solve_pose(kinematics, target, np.array(embedded.HOME))
    with pytest.raises(UnreachableError, match="finite"):
        solve_pose(kinematics, target, np.full(6, np.nan))


def test_inverse_kinematics_stays_within_joint_limits() -> None:
    kinematics = Kinematics(read_chain(ur5e_like()))
    home = np.array(embedded.HOME)
    lower, upper = home - 0.2, home + 0.2
    target = kinematics.tool_pose(home + 0.15)
    found = solve_pose(kinematics, target, home, lower=lower, upper=upper)
    assert ((found >= lower) & (found <= upper)).all()
    with pytest.raises(UnreachableError):
        solve_pose(kinematics, kinematics.tool_pose(home + 0.5), home, lower=lower, upper=upper)


def test_many_postures_at_once_are_the_single_ones(description: str) -> None:
    kinematics = Kinematics(read_chain(description))
    q = np.random.default_rng(3).uniform(-np.pi, np.pi, (50, 6))
    tools, jacobians = kinematics.tools_and_jacobians(q)
    for one, tool, jacobian in zip(q, tools, jacobians, strict=True):
        np.testing.assert_allclose(tool, kinematics.tool_pose(one), atol=1e-13)
        np.testing.assert_allclose(jacobian, kinematics.jacobian(one), atol=1e-13)
