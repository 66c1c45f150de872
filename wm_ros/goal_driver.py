"""Putting the arm in place, looking, and asking for a goal: what the demonstration, the evaluation over ROS and a benchmark share."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image

from wm_core.robot.rotation import Array
from wm_ros.conductor import Conductor, ConductorError
from wm_ros.conversions import pose_message
from wm_ros.mission_recorder import MissionRecorder
from wm_ros.msg import PlannerStatus
from wm_ros.srv import PlanToGoal

BASE = "base_link"
MOVE_TIMEOUT, PLAN_TIMEOUT, STILL = 30.0, 20.0, 1.0  # s


class UnplacedError(ConductorError):
    """The arm could not be brought to where it was to begin, or to where its goal is seen."""


class RefusedGoalError(ConductorError):
    """The controller answered that it would not pursue the goal."""


class GoalDriver:
    """Moves with reach_pose and asks /plan_to_goal, as a user would."""

    def __init__(self, node: MissionRecorder, conductor: Conductor) -> None:
        self._node, self._conductor = node, conductor
        self._targets = node.create_publisher(PoseStamped, "reach_pose/target", 1)

    def go(self, pose: Array) -> None:
        """reach_pose takes the tool to a pose (4, 4)."""
        before = self._node.statuses["reach_pose"].goal_id
        self._conductor.wait("reach_pose to listen", lambda: self._targets.get_subscription_count() > 0)
        self._targets.publish(pose_message(pose, BASE, self._node.get_clock().now().to_msg()))
        moved = lambda: self._node.statuses["reach_pose"].goal_id != before and self._node.ended("reach_pose")  # noqa: E731
        self._conductor.wait("reach_pose's end of the way", moved, MOVE_TIMEOUT)
        status = self._node.statuses["reach_pose"]
        if status.state != PlannerStatus.REACHED:
            raise UnplacedError("the arm could not be brought to its place", got=status.text)

    def look(self) -> Image:
        """A picture that was taken after the arm had come to rest."""
        self._conductor.spin_until(lambda: False, STILL)
        before = self._node.image
        self._conductor.wait("a camera picture", lambda: self._node.image is not before)
        if self._node.image is None:
            raise ConductorError("there is no camera picture")
        return self._node.image

    def ask(self, goal: Image, execute: bool, tolerance: float = 0.0) -> PlanToGoal.Response:
        """The answer of /plan_to_goal, which must accept; it bears being asked twice."""
        request = PlanToGoal.Request(goal_image=goal, execute=execute, replace=True, tolerance=tolerance)
        answer = self._conductor.ask(PlanToGoal, "plan_to_goal", request, PLAN_TIMEOUT)
        if not answer.success:
            raise RefusedGoalError(f"/plan_to_goal refused with code {answer.code}", got=answer.message)
        return answer
