"""What the safety guard publishes about itself, as messages."""

from __future__ import annotations

from sensor_msgs.msg import JointState

from wm_core.robot.guard import Executed, GuardResult
from wm_core.robot.rotation import Array
from wm_ros.conversions import delta_message, duration_message, time_message, vector_message
from wm_ros.guard_output import KEEP_GRIPPER
from wm_ros.msg import ExecutedDelta, SafetyStatus

GRIPPER = "gripper"


def status_message(result: GuardResult, refused: str, frame: str, now: float) -> SafetyStatus:
    """The outcome of one tick at `now` (s, ROS clock), and what was `refused` since the last status."""
    counters = result.counters
    message = SafetyStatus(
        state=int(result.mode),
        code=str(result.code),
        text=result.text,
        scale=float(result.scale),
        active_limits=list(result.active),
        refused=refused,
        ticks=counters.ticks,
        commands=counters.commands,
        rejected=counters.rejected,
        late=counters.late,
        expired=counters.expired,
        limited=counters.limited,
        relaxed=counters.relaxed,
        latched=counters.latched,
        overruns=counters.overruns,
    )
    message.header.frame_id, message.header.stamp = frame, time_message(now)
    return message


def executed_message(executed: Executed, frame: str) -> ExecutedDelta:
    """What became of one policy step."""
    message = ExecutedDelta(
        requested=delta_message(executed.command),
        translation=vector_message(executed.executed[:3]),
        rotation=vector_message(executed.executed[3:]),
        gripper=KEEP_GRIPPER if executed.gripper is None else float(executed.gripper),
        duration=duration_message(executed.duration),
        scale=float(executed.scale),
    )
    message.header.frame_id, message.header.stamp = frame, time_message(executed.began)
    return message


def commanded_message(names: tuple[str, ...], positions: Array, gripper: float | None, now: float) -> JointState:
    """Where the arm was told to be at `now` (s, ROS clock): joints (rad), and the opening (0..1) as `gripper` once one was asked for."""
    opening = {} if gripper is None else {GRIPPER: gripper}
    message = JointState(name=[*names, *opening], position=[*positions.tolist(), *opening.values()])
    message.header.stamp = time_message(now)
    return message
