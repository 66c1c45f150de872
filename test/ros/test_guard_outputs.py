"""Protects the guard's other ways to speak to an arm: joint velocities for ros2_control, and twists for MoveIt Servo with its handshake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from arm_system import GUARD, ArmSystem
from geometry_msgs.msg import TwistStamped
from ros_process import CONFIG, RosProcess
from std_msgs.msg import Float64MultiArray

from wm_core.simulation import arm
from wm_ros.conversions import array

HERE = Path(__file__).resolve().parent
SERVO_TOPIC = "servo_node/delta_twist_cmds"
VELOCITY_FRACTION = 0.5


def robot_file(folder: Path, **output: str) -> str:
    """A copy of the shipped robot that is commanded in another way."""
    robot = yaml.safe_load((CONFIG / "ur5e.yaml").read_text(encoding="utf-8"))
    robot["output"] = {"gripper_topic": "", **output}
    (folder / "robot.yaml").write_text(yaml.safe_dump(robot), encoding="utf-8")
    return str(folder / "robot.yaml")


def test_joint_velocities_drive_the_arm(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    robot = robot_file(tmp_path, kind="joint_velocity", topic="arm/joint_velocity", gripper_topic="arm/gripper")
    system = new_system().bring_up("sim_arm", "safety_guard", robot_file=robot)
    sent: list[Float64MultiArray] = system.observer.hear(Float64MultiArray, "arm/joint_velocity")
    system.arm()
    start = system.tool()
    stop = system.feed((0.0, 0.01, 0.0), gripper=0.25)
    system.observer.until(lambda: system.tool()[1, 3] > start[1, 3] + 0.05, "the tool moves as commanded")
    closed = 0.25 * arm.FINGER_TRAVEL
    system.observer.until(lambda: abs(system.joint_states[-1].position[6] - closed) < 1e-3, "the gripper follows its own topic")
    stop()
    system.await_rest()
    np.testing.assert_allclose(system.tool()[:3, :3], start[:3, :3], atol=0.02)
    np.testing.assert_allclose(system.tool()[[0, 2], 3], start[[0, 2], 3], atol=0.005)
    velocities = np.array([message.data for message in sent])
    assert velocities.shape[1] == 6
    assert (np.abs(velocities) <= VELOCITY_FRACTION * np.array([segment.velocity for segment in arm.SEGMENTS]) + 1e-9).all()


BUILD_SERVO_MESSAGES = """
import sys
from pathlib import Path
from embedded_ros.interfaces import Definitions, install
from embedded_ros.prefix import Prefix

install(Definitions("moveit_msgs", Path(sys.argv[1])), python_package=True, prefix=Prefix(Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def moveit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What processes need in their environment to find moveit_msgs; where it is not installed its one service is built here."""
    if find_spec("moveit_msgs"):
        return {}
    from embedded_ros.prefix import Prefix

    prefix = Prefix(tmp_path_factory.mktemp("moveit"))
    # In a process of its own: the generators' templates take over sys.stdout, which pytest changes from test to test.
    subprocess.run([sys.executable, "-c", BUILD_SERVO_MESSAGES, str(HERE / "servo_interfaces"), str(prefix.root)], check=True)
    folders = {"AMENT_PREFIX_PATH": prefix.root, "LD_LIBRARY_PATH": prefix.libraries, "PYTHONPATH": prefix.site_packages}
    return {name: f"{folder}:{os.environ.get(name, '')}".rstrip(":") for name, folder in folders.items()}


def test_servo_gets_twists_after_its_handshake(new_system: Callable[[], ArmSystem], tmp_path: Path, moveit: dict[str, str]) -> None:
    system = new_system()
    system.start("sim_arm")
    system.start("safety_guard", environment=moveit, robot_file=robot_file(tmp_path, kind="twist", topic=SERVO_TOPIC))
    system.await_ready()
    taken: list[TwistStamped] = system.observer.hear(TwistStamped, "servo_node/taken")
    refused = system.observer.trigger(f"{GUARD}/arm")
    assert not refused.success
    assert "servo_node/switch_command_type" in refused.message
    assert "servo_node/pause_servo" in refused.message

    system.processes["servo"] = RosProcess([sys.executable, HERE / "fake_servo.py"], system.domain, tmp_path / "servo.log", **moveit)
    system.arm()
    stop = system.feed((0.0, 0.005, 0.0), (0.0, 0.0, 0.004))
    asked = np.array([0.0, 0.05, 0.0, 0.0, 0.0, 0.04])

    def arrived(twist: np.ndarray) -> bool:
        return bool(taken) and bool(np.abs(vector(taken[-1]) - twist).max() < 1e-6)

    system.observer.until(lambda: arrived(asked), "the twist that was asked for")
    stop()
    system.observer.until(lambda: arrived(np.zeros(6)), "zeros after the last command")
    stop = system.feed((0.0, 1e6, 0.0))
    system.await_status(lambda status: "tool_speed" in status.active_limits, "the speed is cut")
    stop()
    system.observer.until(lambda: arrived(np.zeros(6)), "zeros again")
    assert {message.header.frame_id for message in taken} == {"base_link"}
    assert max(np.linalg.norm(vector(message)[:3]) for message in taken) <= 0.25 * (1.0 + 1e-6)


@pytest.mark.skipif(find_spec("moveit_msgs") is not None, reason="MoveIt's messages are installed here")
def test_without_moveit_the_twist_output_says_what_to_install(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    system = new_system()
    system.start("sim_arm")
    guard = system.start("safety_guard", robot_file=robot_file(tmp_path, kind="twist", topic=SERVO_TOPIC))
    system.observer.until(lambda: "needs the messages of MoveIt" in guard.output(), "the refusal")
    assert "ros-jazzy-moveit-msgs" in guard.output()
    assert system.observer.state(GUARD) == "unconfigured"
    assert f"/{SERVO_TOPIC}" not in system.observer.topics()


def vector(message: TwistStamped) -> np.ndarray:
    """(6,) m/s and rad/s."""
    return np.concatenate((array(message.twist.linear), array(message.twist.angular)))
