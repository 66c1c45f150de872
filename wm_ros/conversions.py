"""ROS messages to plain data of wm_core and back; every number goes through float(), because rclpy's setters check no types."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Transform, TransformStamped, Vector3
from numpy.typing import ArrayLike
from sensor_msgs.msg import JointState

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
