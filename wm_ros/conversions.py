"""ROS messages to plain data of wm_core and back; every number goes through float(), because rclpy's setters check no types."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped, Transform, TransformStamped, Vector3
from numpy.typing import ArrayLike
from sensor_msgs.msg import JointState

from wm_core.errors import ConfigurationError, RobotModelError
from wm_core.robot import rotation as rotations
from wm_core.robot.command import DeltaCommand, Measurement
from wm_core.robot.rotation import Array
from wm_ros.msg import DeltaEECommand

NANOSECONDS = 1_000_000_000


def seconds(stamp: Time | Duration) -> float:
    """A stamp or duration in seconds."""
    return float(stamp.sec) + float(stamp.nanosec) / NANOSECONDS


def time_message(value: float) -> Time:
    """Seconds since the epoch as a stamp."""
    nanoseconds = round(value * NANOSECONDS)
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def duration_message(value: float) -> Duration:
    """Seconds as a duration."""
    nanoseconds = round(value * NANOSECONDS)
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def vector_message(value: ArrayLike) -> Vector3:
    """(3,) as a Vector3."""
    x, y, z = np.asarray(value, dtype=np.float64)
    return Vector3(x=float(x), y=float(y), z=float(z))


def array(value: Vector3) -> Array:
    """A Vector3 as (3,)."""
    return np.array([value.x, value.y, value.z])


def delta_command(message: DeltaEECommand, received: float) -> DeltaCommand:
    """The command as the guard and the embedded arm see it; nothing is checked here."""
    return DeltaCommand(
        frame=message.header.frame_id,
        translation=array(message.translation),
        rotation=array(message.rotation),
        gripper=float(message.gripper),
        step=seconds(message.step),
        stamp=seconds(message.header.stamp),
        valid_until=seconds(message.valid_until),
        received=received,
        plan_id=message.plan_id,
        step_index=int(message.step_index),
    )


def delta_message(command: DeltaCommand) -> DeltaEECommand:
    """A command as a message."""
    message = DeltaEECommand(
        translation=vector_message(command.translation),
        rotation=vector_message(command.rotation),
        gripper=float(command.gripper),
        step=duration_message(command.step),
        valid_until=time_message(command.valid_until),
        plan_id=command.plan_id,
        step_index=int(command.step_index),
    )
    message.header.frame_id = command.frame
    message.header.stamp = time_message(command.stamp)
    return message


def measurement(message: JointState, received: float) -> Measurement:
    """A joint state as the guard sees it; nothing is checked here."""
    return Measurement(
        names=tuple(message.name),
        position=np.array(message.position, dtype=np.float64),
        velocity=np.array(message.velocity, dtype=np.float64),
        stamp=seconds(message.header.stamp),
        received=received,
    )


def transform_message(parent: str, child: str, pose: Array, stamp: Time) -> TransformStamped:
    """A 4x4 pose of `child` in `parent`."""
    w, x, y, z = rotations.quaternion(pose[:3, :3])
    message = TransformStamped(child_frame_id=child, transform=Transform(translation=vector_message(pose[:3, 3])))
    message.header.frame_id, message.header.stamp = parent, stamp
    quaternion = message.transform.rotation
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = float(x), float(y), float(z), float(w)
    return message


def joint_positions(message: JointState, names: tuple[str, ...]) -> Array:
    """Positions (6,) rad of the joints `names`, whatever the order and company they were sent in."""
    missing = [name for name in names if name not in message.name]
    if missing or len(message.position) != len(message.name):
        got = f"{list(message.name)} with {len(message.position)} positions"
        raise RobotModelError("a joint state does not hold the arm's joints", got=got, allowed=", ".join(names))
    positions = np.array([message.position[list(message.name).index(name)] for name in names])
    if not np.isfinite(positions).all():
        raise RobotModelError("a joint state is not finite", got=positions.tolist(), allowed="finite numbers")
    return positions


def pose_message(pose: Array, frame: str, stamp: Time) -> PoseStamped:
    """A 4x4 pose in `frame`."""
    message = PoseStamped()
    message.header.frame_id, message.header.stamp = frame, stamp
    message.pose.position.x, message.pose.position.y, message.pose.position.z = pose[:3, 3].tolist()
    turn = message.pose.orientation
    turn.w, turn.x, turn.y, turn.z = rotations.quaternion(pose[:3, :3]).tolist()
    return message


def pose_from_message(message: PoseStamped, frame: str) -> Array:
    """The 4x4 pose of a message that must be in `frame`, with a quaternion of length 1."""
    position, turn = message.pose.position, message.pose.orientation
    if message.header.frame_id != frame:
        raise ConfigurationError("a pose in another frame", got=repr(message.header.frame_id), allowed=frame, mend="transform it first")
    values = np.array([position.x, position.y, position.z, turn.w, turn.x, turn.y, turn.z])
    if not np.isfinite(values).all() or abs(np.linalg.norm(values[3:]) - 1.0) > 1e-3:
        raise ConfigurationError("a pose that is not finite or not a rotation", got=values.tolist(), allowed="a quaternion of length 1")
    return rotations.pose(values[:3], rotations.from_quaternion(values[3:]))
