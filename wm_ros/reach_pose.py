"""Node `reach_pose`: reaches a pose or traces a square with small delta commands through the guard, to check an arm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from wm_core.errors import WmError
from wm_core.robot import reach
from wm_core.robot.command import DeltaCommand
from wm_core.robot.reach import Outcome, Reach, ReachConfig
from wm_core.robot.rotation import Array
from wm_ros import process, robot_description
from wm_ros.conversions import delta_message, joint_positions, pose_from_message
from wm_ros.guard_output import KEEP_GRIPPER
from wm_ros.lifecycle import WmNode, status
from wm_ros.msg import DeltaEECommand, PlannerStatus, SafetyStatus

OLDEST_INPUT = 0.2  # s; nothing is sent on older joint states
OLDEST_STATUS = 0.5  # s; a guard that says nothing for longer is not there
VALIDITY = 2.0  # steps for which a command may be obeyed
IDLE_STATUS_PERIOD = 1.0


class ReachPose(WmNode[ReachConfig]):
    """Silent until asked; a timer sends one delta per step while a pose is being reached."""

    def __init__(self) -> None:
        super().__init__("reach_pose", ReachConfig, "reach_pose.yaml")
        robot_description.declare(self)

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS)

    def configure(self, config: ReachConfig) -> None:
        self._robot_config, self._robot = robot_description.load(self)
        self._reach: Reach | None = None
        self._joint_state: tuple[Array, float] | None = None
        self._guard_state, self._guard_heard = SafetyStatus.DISARMED, 0.0
        self._plan, self._count, self._start_error = "", 0, 1.0
        self._commands = self.create_publisher(DeltaEECommand, "delta_command", 10)
        self._status = self.create_publisher(PlannerStatus, "~/status", 10)

    def activate(self) -> None:
        self.create_subscription(JointState, "joint_states", self._on_joint_state, 100)
        self.create_subscription(SafetyStatus, "safety_guard/status", self._on_guard, 10)
        self.create_subscription(PoseStamped, "~/target", self._on_target, 1)
        self.create_service(Trigger, "~/reach", self._on_reach)
        self.create_service(Trigger, "~/trace", self._on_trace)
        self.create_service(Trigger, "~/cancel", self._on_cancel)
        self.create_timer(1.0 / self._known().rate, self._tick)
        self.create_timer(IDLE_STATUS_PERIOD, self._report_idle)
        self._state, self._text = PlannerStatus.IDLE, "waiting for ~/reach, ~/trace or a pose on ~/target"

    def deactivate(self) -> None:
        if self._reach is not None:
            self._reach = None
            self._stand_still()

    def cleanup(self) -> None:
        self.destroy_publisher(self._commands)
        self.destroy_publisher(self._status)

    def diagnose(self) -> list[DiagnosticStatus]:
        return [status(self, "reach", DiagnosticStatus.OK, self._text if self.active else "inactive")]

    def _seconds(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_joint_state(self, message: JointState) -> None:
        try:
            self._joint_state = joint_positions(message, self._robot.kinematics.names), self._seconds()
        except WmError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _on_guard(self, message: SafetyStatus) -> None:
        self._guard_state, self._guard_heard = message.state, self._seconds()
        if self._reach is not None and message.state != SafetyStatus.ARMED:
            self._end(PlannerStatus.FAILED, f"the safety guard is not ARMED any more: {message.text}")

    def _on_reach(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda tool: (reach.pose_of(self._known().pose),))

    def _on_trace(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda tool: reach.square(tool, self._known().side, self._known().plane))

    def _on_target(self, message: PoseStamped) -> None:
        answer = self._answer(Trigger.Response(), lambda tool: (pose_from_message(message, self._robot_config.base_link),))
        if not answer.success:
            self.get_logger().error(f"target refused: {answer.message}")

    def _on_cancel(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._reach is not None
        response.message = "cancelled" if response.success else "nothing was running"
        if response.success:
            self._end(PlannerStatus.CANCELLED, "cancelled by request")
        return response

    def _answer(self, response: Trigger.Response, waypoints_from: Callable[[Array], tuple[Array, ...]]) -> Trigger.Response:
        """Start toward the waypoints made from the tool's pose now, or say why not."""
        tool = self._tool()
        if tool is None:
            response.success, response.message = False, f"no joint state within the last {OLDEST_INPUT} s; is the arm running?"
        elif not self._armed():
            response.success, response.message = False, "the safety guard is not ARMED; call safety_guard/arm first"
        else:
            try:
                waypoints = waypoints_from(tool)
            except WmError as error:
                response.success, response.message = False, str(error)
                return response
            self._begin(waypoints, tool)
            response.success, response.message = True, f"started {self._plan} with {len(waypoints)} waypoints; see ~/status"
        return response

    def _armed(self) -> bool:
        """Whether the guard says so, and is alive to say it."""
        return bool(self._guard_state == SafetyStatus.ARMED) and self._seconds() - self._guard_heard <= OLDEST_STATUS

    def _begin(self, waypoints: tuple[Array, ...], tool: Array) -> None:
        self._count += 1
        self._plan, self._steps = f"reach-{self._count}", 0
        self._reach = Reach(waypoints, self._seconds())
        self._start_error = max(float(abs(waypoints[0][:3, 3] - tool[:3, 3]).max()), 1e-6)

    def _tool(self) -> Array | None:
        """The measured pose of the tool; None when there is no fresh joint state."""
        if self._joint_state is None or self._seconds() - self._joint_state[1] > OLDEST_INPUT:
            return None
        return self._robot.kinematics.tool_pose(self._joint_state[0])

    def _tick(self) -> None:
        if self._reach is None:
            return
        tool, now = self._tool(), self._seconds()
        if tool is None:
            self._end(PlannerStatus.FAILED, f"no joint state within the last {OLDEST_INPUT} s")
            return
        if not self._armed():
            self._end(PlannerStatus.FAILED, f"no word from an armed safety guard within the last {OLDEST_STATUS} s")
            return
        self._reach, step = reach.advance(self._known(), self._reach, tool, now)
        distance = f"{1000 * step.position_error:.1f} mm and {step.rotation_error:.4f} rad away"
        if step.outcome is Outcome.REACHED:
            self._end(PlannerStatus.REACHED, f"reached, {distance}")
        elif step.outcome is Outcome.TIMED_OUT:
            self._end(PlannerStatus.FAILED, f"waypoint {self._reach.index + 1} not reached within {self._known().timeout} s: {distance}")
        else:
            self._commands.publish(self._command(step.translation, step.rotation, now))
            self._steps += 1
            text = f"waypoint {self._reach.index + 1} of {len(self._reach.waypoints)}: {distance}"
            self._report(PlannerStatus.EXECUTING, text, step.position_error / self._start_error)

    def _command(self, translation: Array, rotation: Array, now: float) -> DeltaEECommand:
        duration = 1.0 / self._known().rate
        return delta_message(
            DeltaCommand(
                frame=self._robot_config.base_link,
                translation=translation,
                rotation=rotation,
                gripper=KEEP_GRIPPER,
                step=duration,
                stamp=now,
                valid_until=now + VALIDITY * duration,
                received=now,
                plan_id=self._plan,
                step_index=self._steps,
            )
        )

    def _stand_still(self) -> None:
        """One command of zero: the last one must not go on until it expires."""
        self._commands.publish(self._command(np.zeros(3), np.zeros(3), self._seconds()))

    def _end(self, state: int, text: str) -> None:
        self._reach = None
        self._stand_still()
        if state == PlannerStatus.REACHED:
            self.get_logger().info(f"{self._plan}: {text}")
        else:
            self.get_logger().warning(f"{self._plan}: {text}")
        self._report(state, text, 0.0)

    def _report_idle(self) -> None:
        if self._reach is None:
            self._report(self._state, self._text, 0.0)

    def _report(self, state: int, text: str, distance: float) -> None:
        self._state, self._text = state, text
        message = PlannerStatus(state=state, text=text, goal_id=self._plan, goal_distance=float(distance))
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)


def main() -> None:
    """Run the node."""
    process.run(ReachPose, shared_memory=False)
