"""Protects: limits that a URDF lacks are required by name, zero is a limit, and nothing absurd gets past the loader."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from guard_rig import CONFIG, make_config

from wm_core import configuration
from wm_core.configuration import flatten
from wm_core.errors import ConfigurationError, RobotModelError
from wm_core.robot.guard import Guard
from wm_core.robot.guard_config import HIGHER_IS_TIGHTER, GuardConfig
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.limits import Limits
from wm_core.robot.robot_config import read_robot
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm as embedded

CHAIN = read_chain(embedded.urdf())


def read_limits(file: Path) -> Limits:
    return read_robot(file, embedded.urdf()).limits


def written(path: Path, **changes: Any) -> Path:
    content = yaml.safe_load((CONFIG / "ur5e.yaml").read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        node = content["limits"]
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[last]
        else:
            node[last] = value
    file = path / "limits.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_shipped_limits_fit_the_shipped_arm() -> None:
    limits = read_limits(CONFIG / "ur5e.yaml")
    assert limits.names == embedded.JOINTS
    assert limits.velocity.tolist() == [segment.velocity for segment in embedded.SEGMENTS]
    assert (limits.acceleration > 0).all()
    assert (limits.jerk > 0).all()
    assert limits.table_height == 0.0


@pytest.mark.parametrize("what", ["acceleration", "jerk"])
def test_row_joint_limits_missing_number_names_the_joints(tmp_path: Path, what: str) -> None:
    """SAFETY row 2: acceleration and jerk are required; missing refuses to configure, naming the joints."""
    changes = {f"{what}__elbow_joint": None, f"{what}__wrist_3_joint": None}
    with pytest.raises(ConfigurationError, match=f"no {what} limit for elbow_joint, wrist_3_joint"):
        read_limits(written(tmp_path, **changes))
    with pytest.raises(ConfigurationError, match=f"missing key 'limits.{what}'"):
        read_limits(written(tmp_path, **{what: None}))


def test_zero_is_a_limit_and_null_is_not(tmp_path: Path) -> None:
    assert read_limits(written(tmp_path, acceleration__elbow_joint=0.0)).acceleration[2] == 0.0
    file = written(tmp_path)
    file.write_text(file.read_text().replace("elbow_joint: 5.0", "elbow_joint: null"))
    with pytest.raises(ConfigurationError, match=re.escape("acceleration.elbow_joint")):
        read_limits(file)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "fast", True])
def test_numbers_that_are_no_limit_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("jerk.wrist_1_joint")):
        read_limits(written(tmp_path, jerk__wrist_1_joint=value))


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nearest: elbow_joint"):
        read_limits(written(tmp_path, acceleration__elbow_joints=1.0))
    with pytest.raises(ConfigurationError, match="nearest: acceleration"):
        read_limits(written(tmp_path, accelerations={}))
    with pytest.raises(RobotModelError, match="nearest: forearm_link"):
        read_limits(written(tmp_path, capsules__forearm__link="forarm_link"))
    with pytest.raises(ConfigurationError, match="nearest: forearm"):
        read_limits(written(tmp_path, allowed_contacts=[["base", "fore_arm"]]))


def test_the_shipped_guard_has_the_numbers_of_the_safety_table() -> None:
    values = {name: value for name, (value, _) in flatten(configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")).items()}
    table = {
        "rate": 200.0,
        "joints.position_margin": 0.10,
        "joints.recovery_speed": 0.0175,
        "joints.past_limit": 0.0087,
        "joints.velocity_fraction": 0.5,
        "tool_speed.linear": 0.25,
        "tool_speed.angular": 0.6,
        "barrier.gain": 5.0,
        "barrier.inflation": 0.005,
        "barrier.relaxed_ticks": 5,
        "collision.slow": 0.05,
        "collision.stop": 0.02,
        "singularity.slow": 17.0,
        "singularity.halt": 30.0,
        "command.steps": 2.5,
        "command.shortest": 0.10,
        "command.longest": 0.5,
        "command.rejects": 3,
        "joint_state.brake": 0.05,
        "joint_state.latch": 0.2,
        "tracking.error": 0.2,
        "tracking.duration": 0.2,
        "arming.speed": 0.01,
        "arming.quiet": 0.5,
    }
    assert {name: values[name] for name in table} == table
    assert set(HIGHER_IS_TIGHTER) <= set(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tool_speed.linear", -0.1), ("tool_speed.linear", float("nan")), ("command.rejects", 0), ("rate", "fast"), ("collision.stop", 0.2)],
)
def test_a_setting_outside_its_range_is_refused(name: str, value: Any) -> None:
    shipped = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")
    with pytest.raises(ConfigurationError):
        configuration.replace_flat(shipped, {name: value}, "test")


def test_every_setting_is_required_so_that_none_vanishes(tmp_path: Path) -> None:
    content = yaml.safe_load((CONFIG / "safety_guard.yaml").read_text())
    optional = {"workspace", "keep_out"}
    for group in content:
        if group in optional:
            continue
        file = tmp_path / "guard.yaml"
        file.write_text(yaml.safe_dump({key: value for key, value in content.items() if key != group}))
        with pytest.raises(ConfigurationError, match=f"missing key '{group}'"):
            configuration.read(GuardConfig, file)


def test_limits_of_another_arm_are_refused() -> None:
    limits = read_limits(CONFIG / "ur5e.yaml")
    with pytest.raises(ConfigurationError, match="different arms"):
        Guard(make_config(), replace(limits, names=limits.names[::-1]), Kinematics(CHAIN))
    with pytest.raises(ConfigurationError, match="leaves elbow_joint no room"):
        Guard(make_config(), replace(limits, upper=np.where(np.arange(6) == 2, limits.lower + 0.1, limits.upper)), Kinematics(CHAIN))
