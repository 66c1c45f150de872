"""Protects reach_pose: through the guard, over DDS, the tool goes where it was asked to, and every other end is said in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from arm_system import GUARD, REACH, ArmSystem
from geometry_msgs.msg import PoseStamped
from ros_process import CONFIG

from wm_core import configuration
from wm_core.robot import rotation
from wm_core.robot.reach import ReachConfig
from wm_core.simulation import arm
from wm_ros.conversions import joint_positions
from wm_ros.msg import DeltaEECommand, PlannerStatus

SIDE = 0.05  # m
FINAL = {PlannerStatus.REACHED, PlannerStatus.FAILED, PlannerStatus.CANCELLED}


@pytest.fixture(scope="module")
def config() -> ReachConfig:
    return configuration.read(ReachConfig, CONFIG / "reach_pose.yaml")


@pytest.fixture
def progress(armed: ArmSystem) -> Iterator[list[PlannerStatus]]:
    """What reach_pose reports from now on; afterwards nothing runs any more."""
    yield armed.observer.hear(PlannerStatus, f"{REACH}/status")
    armed.observer.trigger(f"{REACH}/cancel")


def ended(system: ArmSystem, progress: list[PlannerStatus], within: float = 30.0) -> PlannerStatus:
    """The first report that ends what was begun after `progress` was cleared."""

    def end() -> PlannerStatus | None:
        begun = itertools.dropwhile(lambda status: status.state != PlannerStatus.EXECUTING, progress)
        return next((status for status in begun if status.state in FINAL), None)

    return system.observer.until(end, "an end", within)


def target(pose: np.ndarray, frame: str = "base_link") -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = map(float, pose[:3, 3])
    w, x, y, z = map(float, rotation.quaternion(pose[:3, :3]))
    message.pose.orientation.w, message.pose.orientation.x, message.pose.orientation.y, message.pose.orientation.z = w, x, y, z
    return message


def send_until_begun(system: ArmSystem, progress: list[PlannerStatus], message: PoseStamped) -> None:
    """Send a target until it is being reached: a subscription that is just being matched misses the first."""
    send = system.observer.sender(PoseStamped, f"{REACH}/target")
    progress.clear()
    stop = system.observer.repeat(0.2, lambda: send(message))
    system.observer.until(lambda: any(status.state == PlannerStatus.EXECUTING for status in progress), "it begins")
    stop()


def test_a_pose_is_reached_within_its_tolerance(armed: ArmSystem, progress: list[PlannerStatus], config: ReachConfig) -> None:
    wanted = armed.tool()
    wanted[:3, 3] += (0.04, 0.06, 0.05)
    wanted[:3, :3] = rotation.matrix(np.array([0.1, -0.1, 0.2])) @ wanted[:3, :3]
    send_until_begun(armed, progress, target(wanted))
    status = ended(armed, progress)
    assert status.state == PlannerStatus.REACHED, status.text
    error = rotation.pose_error(wanted, armed.tool())
    assert np.linalg.norm(error[:3]) <= config.position_tolerance
    assert np.linalg.norm(error[3:]) <= config.rotation_tolerance


def test_a_square_is_traced_through_its_corners(armed: ArmSystem, progress: list[PlannerStatus], config: ReachConfig) -> None:
    assert armed.observer.set_parameter(REACH, "side", SIDE) == (True, "")
    start, seen = armed.tool(), len(armed.joint_states)
    asked = armed.observer.hear(DeltaEECommand, "delta_command")
    progress.clear()
    armed.trace()
    assert ended(armed, progress).state == PlannerStatus.REACHED
    path = np.array([armed.kinematics.tool_pose(joint_positions(state, arm.JOINTS))[:3, 3] for state in armed.joint_states[seen:]])
    for corner in ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)):
        distance = np.linalg.norm(path - (start[:3, 3] + (0.0, *corner)), axis=1).min()
        assert distance <= config.position_tolerance, corner
    assert np.abs(path[:, 0] - start[0, 3]).max() < 0.005
    indices = [message.step_index for message in asked]
    assert indices == sorted(indices)
    assert len({message.plan_id for message in asked}) == 1


def test_it_can_be_cancelled_and_then_stands_still(armed: ArmSystem, progress: list[PlannerStatus]) -> None:
    progress.clear()
    armed.trace()
    armed.await_motion()
    assert armed.observer.trigger(f"{REACH}/cancel").success
    assert ended(armed, progress).state == PlannerStatus.CANCELLED
    armed.await_rest()
    again = armed.observer.trigger(f"{REACH}/cancel")
    assert not again.success
    assert "nothing was running" in again.message


def test_a_pose_out_of_reach_is_given_up_in_time(armed: ArmSystem, progress: list[PlannerStatus]) -> None:
    assert armed.observer.set_parameter(REACH, "timeout", 0.8) == (True, "")
    far = armed.tool()
    far[:3, 3] = (0.5, 2.0, 0.3)
    send_until_begun(armed, progress, target(far))
    status = ended(armed, progress)
    assert armed.observer.set_parameter(REACH, "timeout", 20.0) == (True, "")
    assert status.state == PlannerStatus.FAILED
    assert "not reached within 0.8 s" in status.text
    armed.await_rest()


@pytest.mark.parametrize(
    ("frame", "length", "words"),
    [("map", 1.0, "a pose in another frame; got: 'map'; allowed: base_link"), ("base_link", 0.5, "a quaternion of length 1")],
)
def test_a_bad_target_is_refused_and_nothing_moves(armed: ArmSystem, frame: str, length: float, words: str) -> None:
    before, message = armed.positions(), target(armed.tool(), frame)
    message.pose.position.y += 0.1
    for part in "wxyz":
        setattr(message.pose.orientation, part, length * getattr(message.pose.orientation, part))
    send = armed.observer.sender(PoseStamped, f"{REACH}/target")
    stop = armed.observer.repeat(0.1, lambda: send(message))
    armed.observer.until(lambda: words in armed.processes["reach_pose"].output(), "the refusal")
    stop()
    np.testing.assert_allclose(armed.positions(), before, atol=1e-3)


def test_it_gives_up_when_the_guard_stops(armed: ArmSystem, progress: list[PlannerStatus]) -> None:
    progress.clear()
    armed.trace()
    armed.await_motion()
    armed.observer.trigger(f"{GUARD}/estop")
    status = ended(armed, progress)
    assert status.state == PlannerStatus.FAILED
    assert "Emergency stop" in status.text
