"""Node `safety_guard`: the last writer of the arm's commands. Everything it decides is in wm_core.robot.guard."""

from __future__ import annotations

import sys

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from wm_core.robot import guard
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard import Executed, GuardResult, Wiring
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.guard_status import Code, Mode
from wm_ros import guard_output, process, realtime, robot_description
from wm_ros.conversions import delta_command, measurement
from wm_ros.diagnostics import Loop, Stream
from wm_ros.guard_messages import commanded_message, executed_message, status_message
from wm_ros.lifecycle import WmNode, status
from wm_ros.msg import DeltaEECommand, ExecutedDelta, SafetyStatus

STATUS_PERIOD, WIRING_PERIOD, COMMANDED_PERIOD = 0.05, 0.1, 0.02
# Joint states may outrun a busy tick; the newest counts, but none must be lost before the guard can see that it is the newest.
STATE_QOS = QoSProfile(depth=100)


class SafetyGuard(WmNode[GuardConfig]):
    """Ticks the guard at a fixed rate on the steady clock (on /clock in lock-step), with the newest inputs."""

    def __init__(self) -> None:
        super().__init__("safety_guard", GuardConfig, "safety_guard.yaml")
        robot_description.declare(self)
        text = "SCHED_FIFO priority of the guard where the system allows it; 0: do not ask"
        self.declare_parameter("realtime_priority", 50, ParameterDescriptor(description=text, read_only=True))

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS, "realtime_priority")

    def configure(self, config: GuardConfig) -> None:
        robot_config, robot = robot_description.load(self)
        is_delta = robot_config.output.kind == "delta"
        self._guard = guard.Guard(config, robot.limits, robot.kinematics, output_is_delta=is_delta)
        self._state = guard.initial_state(self._guard)
        self._joint_names = set(robot.limits.names)
        self._output = guard_output.make(self, robot_config.output, self._guard.base_frame, config)
        self._on_sim_time = bool(self.get_parameter("use_sim_time").value)
        self._estop_held, self._refused = False, ""
        self._command: DeltaCommand | None = None
        self._measurement: Measurement | None = None
        self._loop, self._commands, self._joint_states = Loop(config.period), Stream(), Stream()
        self._status = self.create_publisher(SafetyStatus, "~/status", 10)
        self._executed = self.create_publisher(ExecutedDelta, "~/executed", 50)
        self._commanded = self.create_publisher(JointState, "~/commanded", 50)

    def activate(self) -> None:
        self._scheduling = realtime.request(int(self.get_parameter("realtime_priority").value or 0))
        self._reported: tuple[Mode, Code] | None = None
        self._next_status = self._next_wiring = self._next_commanded = 0.0
        self.create_subscription(DeltaEECommand, "delta_command", self._on_command, 10)
        self.create_subscription(JointState, "joint_states", self._on_joint_state, STATE_QOS)
        self.create_subscription(Bool, "estop", self._on_estop_topic, 10)
        # A button that said so once, before this node was there, is still pressed.
        self.create_subscription(Bool, "estop", self._on_estop_topic, robot_description.LATCHED)
        self.create_service(Trigger, "~/arm", self._on_arm)
        self.create_service(Trigger, "~/disarm", self._on_disarm)
        self.create_service(Trigger, "~/estop", self._on_estop)
        clock = self.get_clock() if self._on_sim_time else self._steady
        self.create_timer(self._known().period, self._tick, clock=clock)

    def deactivate(self) -> None:
        # The sender has stopped; now zero is the last message on the wire.
        if self._state.mode is not Mode.DISARMED or self._state.velocity.any():
            self._output.publish_zero(self._now().ros)
        self._state = guard.initial_state(self._guard)

    def cleanup(self) -> None:
        self._output.close()
        self.destroy_publisher(self._status)
        self.destroy_publisher(self._executed)
        self.destroy_publisher(self._commanded)

    def reconfigure(self, config: GuardConfig) -> None:
        self._guard = guard.tighten(self._guard, config, self._state)

    def diagnose(self) -> list[DiagnosticStatus]:
        now = self._now().steady
        executor = "events" if "rclpy.experimental.events_executor" in sys.modules else "single threaded (no events executor in this rclpy)"
        state = self._state
        level = {Mode.ARMED: DiagnosticStatus.OK, Mode.DISARMED: DiagnosticStatus.OK, Mode.STOPPED: DiagnosticStatus.ERROR}[state.mode]
        age = self._joint_states.age(now)
        stale = age > self._known().joint_state.brake
        return [
            status(self, "state", level, f"{state.mode.name} {state.code}", detail=state.detail, **state.counters._asdict()),
            status(
                self,
                "loop",
                DiagnosticStatus.OK,
                "running",
                period=self._loop.period,
                overruns=self._loop.overruns,
                longest=round(self._loop.longest, 5),
                executor=executor,
                scheduling=getattr(self, "_scheduling", "not active"),
            ),
            status(
                self,
                "joint states",
                DiagnosticStatus.WARN if stale else DiagnosticStatus.OK,
                "stale" if stale else "fresh",
                rate=round(self._joint_states.rate(now), 1),
                age=round(age, 4),
            ),
            status(self, "commands", DiagnosticStatus.OK, "heard", rate=round(self._commands.rate(now), 1), age=self._commands.age(now)),
        ]

    def _now(self) -> Now:
        ros = self.get_clock().now().nanoseconds * 1e-9
        return Now(steady=ros if self._on_sim_time else self._steady.now().nanoseconds * 1e-9, ros=ros)

    def _on_command(self, message: DeltaEECommand) -> None:
        received = self._now().steady
        self._commands.arrived(received)
        self._command = delta_command(message, received)

    def _on_joint_state(self, message: JointState) -> None:
        if not self._joint_names.intersection(message.name):
            return  # somebody else's joints, a gripper's
        received = self._now().steady
        self._joint_states.arrived(received)
        self._measurement = measurement(message, received)

    def _tick(self) -> None:
        now = self._now()
        self._loop.tick(now.steady)
        if now.steady < self._next_wiring - WIRING_PERIOD:  # simulated time began anew
            self._next_status = self._next_wiring = self._next_commanded = now.steady
        if now.steady >= self._next_wiring:
            self._next_wiring = now.steady + WIRING_PERIOD
            self._check_wiring(now)
        command, self._command = self._command, None
        self._state, result = guard.step(self._guard, self._state, command, self._measurement, now)
        if result.publish:
            self._output.publish(result, now.ros)
        self._report(result, now)

    def _check_wiring(self, now: Now) -> None:
        others = self._output.other_publishers()
        if others and self._state.mode is Mode.ARMED:
            text = f"{others} more on {self._output.topic}: stop all but the safety guard"
            self._state = guard.stop(self._guard, self._state, Code.SECOND_PUBLISHER, text, now)

    def _report(self, result: GuardResult, now: Now) -> None:
        """Publish what the tick did; say aloud what changed."""
        if result.executed is not None:
            self._publish_executed(result.executed)
        if now.steady >= self._next_commanded:
            self._next_commanded = now.steady + COMMANDED_PERIOD
            self._publish_commanded(now)
        if result.refused:
            self._refused = result.refused
            self.get_logger().warning(result.refused, throttle_duration_sec=1.0)
        changed = (result.mode, result.code) != self._reported
        if changed and (self._reported is None or result.mode is not self._reported[0]):
            self._announce_mode(result)
        if changed or now.steady >= self._next_status:
            self._reported, self._next_status = (result.mode, result.code), now.steady + STATUS_PERIOD
            self._status.publish(status_message(result, self._refused, self._guard.base_frame, now.ros))
            self._refused = ""

    def _announce_mode(self, result: GuardResult) -> None:
        # rclpy ties the severity to the line of code.
        if result.mode is Mode.STOPPED:
            self.get_logger().error(f"STOPPED: {result.text}")
        else:
            self.get_logger().info(f"{result.mode.name}: {result.text}")

    def _publish_executed(self, executed: Executed) -> None:
        self._executed.publish(executed_message(executed, self._guard.base_frame))

    def _publish_commanded(self, now: Now) -> None:
        positions = guard.commanded(self._state)
        if positions is not None:
            self._commanded.publish(commanded_message(self._guard.limits.names, positions, self._state.gripper, now.ros))

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        missing = self.duplicate() or self._output.not_ready()
        if missing:
            response.success, response.message = False, f"Not armed: {missing}."
            return response
        wiring = Wiring(self._output.listeners(), self._output.other_publishers(), estop=self._estop_held)
        self._state, reply = guard.arm(self._guard, self._state, self._measurement, self._now(), wiring)
        response.success, response.message = reply.accepted, reply.text
        if not reply.accepted:
            self.get_logger().warning(reply.text)
        return response

    def _on_disarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._state, reply = guard.disarm(self._guard, self._state, self._now())
        response.success, response.message = reply.accepted, reply.text
        return response

    def _on_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("~/estop was called")
        response.success, response.message = True, "STOPPED; call ~/arm to go on"
        return response

    def _on_estop_topic(self, message: Bool) -> None:
        self._estop_held = bool(message.data)
        if self._estop_held:
            self._stop("the estop topic said so")

    def _stop(self, why: str) -> None:
        self._state = guard.stop(self._guard, self._state, Code.ESTOP, why, self._now())


def main() -> None:
    """Run the node."""
    process.run(SafetyGuard, shared_memory=False)
