"""Requests, answers and status of the controller as messages."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from sensor_msgs.msg import Image

from wm_core.planning.bounds import ToolState
from wm_core.planning.controller import First, Report, Step
from wm_core.planning.goal_request import Code, GoalRequest, RefusedError
from wm_core.planning.plan import controls
from wm_core.planning.track import Track
from wm_core.robot import rotation
from wm_core.robot.command import DeltaCommand
from wm_core.robot.rotation import Array
from wm_ros.conversions import delta_message, duration_message, seconds, time_message
from wm_ros.guard_output import KEEP_GRIPPER
from wm_ros.images import ImageError, given, mask, picture
from wm_ros.msg import DeltaEECommand, PlannerStatus
from wm_ros.srv import PlanToGoal


def goal_request(message: PlanToGoal.Request) -> GoalRequest:
    """What is asked; an image that says it is there and is not is refused."""
    try:
        shown = picture(message.goal_image) if given(message.goal_image) else None
        counts = mask(message.goal_mask)
    except ImageError as error:
        raise RefusedError.of(Code.GOAL_INVALID, error) from error
    return GoalRequest(
        picture=shown,
        mask=counts,
        path=message.goal_path,
        name=message.goal_name,
        episode=message.episode,
        frame=int(message.frame),
        camera=message.camera,
        tolerance=float(message.tolerance),
        timeout=seconds(message.timeout),
        execute=bool(message.execute),
        replace=bool(message.replace),
    )


def refusal(code: Code, text: str) -> PlanToGoal.Response:
    """A request that was not accepted."""
    return PlanToGoal.Response(success=False, code=int(code), message=text)


def acceptance(first: First, frame: str, imagined: Image) -> PlanToGoal.Response:
    """An accepted goal with its first plan, as steps of control."""
    plan, track = first.draft.plan, first.draft.track
    text = f"{len(plan.actions)} steps of {track.seconds:g} s in {1e3 * first.seconds:.0f} ms, {plan.samples} futures imagined"
    return PlanToGoal.Response(
        success=True,
        code=int(Code.SUCCESS),
        message=text,
        goal_id=first.mission.goal_id,
        plan=plan_messages(track, frame),
        start_cost=float(first.start_cost),
        predicted_cost=float(plan.cost),
        uncertainty=float(first.uncertainty),
        planning_time=duration_message(first.seconds),
        imagined=imagined,
    )


def plan_messages(track: Track, frame: str) -> list[DeltaEECommand]:
    """Every step of control of a plan, stamped with the time it is due."""
    period = track.seconds / track.chunk
    steps = controls(track.actions, track.chunk)
    return [
        command_message(Step(step[:6], float(step[6]), track.plan_id, index), track.start + index * period, period, 1.0, frame)
        for index, step in enumerate(steps)
    ]


def command_message(step: Step, now: float, period: float, validity: float, frame: str) -> DeltaEECommand:
    """A step of control of `period` seconds, to be obeyed for `validity` of them from `now` on."""
    return delta_message(
        DeltaCommand(
            frame=frame,
            translation=step.motion[:3],
            rotation=step.motion[3:],
            gripper=KEEP_GRIPPER if step.opening is None else float(np.clip(step.opening, 0.0, 1.0)),
            step=period,
            stamp=now,
            valid_until=now + validity * period,
            received=now,
            plan_id=step.plan_id,
            step_index=step.index,
        )
    )


def status_message(report: Report, camera: str, now: Time) -> PlannerStatus:
    """What the controller is doing."""
    plan = report.draft.plan if report.draft else None
    message = PlannerStatus(
        state=int(report.state),
        text=report.text,
        goal_id=report.goal_id,
        goal_distance=float(report.share),
        predicted_cost=plan.cost if plan else 0.0,
        start_cost=float(report.start_cost),
        uncertainty=float(report.uncertainty),
        samples=plan.samples // plan.iterations if plan else 0,
        iterations=plan.iterations if plan else 0,
        planning_time=duration_message(report.seconds),
        input_age=duration_message(max(0.0, report.input_age)),
        frame_to_command=duration_message(max(0.0, report.frame_to_command)),
        plans=report.plans,
        missed_deadlines=report.missed,
    )
    message.header.stamp, message.header.frame_id = now, camera
    return message


def path_message(track: Track, tool: ToolState, frame: str) -> Path:
    """Where a plan leads the tool, one pose for each step of the model and the one it begins at."""
    path = Path()
    path.header.frame_id, path.header.stamp = frame, time_message(track.start)
    for index, pose in enumerate(poses(track.actions, tool)):
        stamped = PoseStamped()
        stamped.header.frame_id, stamped.header.stamp = frame, time_message(track.start + index * track.seconds)
        place, turn = stamped.pose.position, stamped.pose.orientation
        place.x, place.y, place.z = map(float, pose[:3, 3])
        turn.w, turn.x, turn.y, turn.z = map(float, rotation.quaternion(pose[:3, :3]))
        path.poses.append(stamped)
    return path


def poses(actions: Array, tool: ToolState) -> list[Array]:
    """Poses (4, 4) that actions (H, 7) lead the tool through, H + 1 of them."""
    found = [rotation.pose(tool.position, tool.rotation)]
    for action in actions:
        before = found[-1]
        found.append(rotation.pose(before[:3, 3] + action[:3], rotation.matrix(action[3:6]) @ before[:3, :3]))
    return found
