"""Node `sim_arm`: the embedded arm in place of a real one; commands in, images, joint states, transforms and time out."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray, String
from std_srvs.srv import Trigger

from wm_core.errors import WmError
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_ros import process
from wm_ros.conversions import delta_command, time_message
from wm_ros.diagnostics import Loop, Stream
from wm_ros.lifecycle import WmNode, status
from wm_ros.msg import DeltaEECommand
from wm_ros.sim_cameras import SimCameras
from wm_ros.sim_time import SimTime
from wm_ros.sim_transforms import SimTransforms

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CENSUS_PERIOD = 0.05  # s; a new publisher is noticed within it, and looking it up costs as much as a command
COMMAND_TOPICS = {"delta": "arm/delta_command", "joint_velocity": "arm/joint_velocity", "gripper": "arm/gripper"}


class SimArm(WmNode[SimConfig]):
    """Advances the embedded arm with the wall clock, or in lock-step with its commands."""

    def __init__(self) -> None:
        super().__init__("sim_arm", SimConfig, "sim_arm.yaml")

    def configure(self, config: SimConfig) -> None:
        self.arm = EmbeddedArm(config)
        self.time = SimTime(config)
        self._tick_loop = Loop(self.time.period)
        self._commands = Stream()
        self._refused = 0
        self._census, self._next_census = "", 0.0
        self._last_refusal = ""
        self._joint_states = self.create_publisher(JointState, "joint_states", 10)
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", 10) if self.time.lock_step else None
        self._description = self.create_publisher(String, "robot_description", LATCHED)
        self._description.publish(String(data=arm.urdf()))
        self._cameras = SimCameras(self, self.arm, config)
        self._transforms = SimTransforms(self, self.arm, config)
        self._offered = [self.create_service(Trigger, "~/reset", self._on_reset)]

    def activate(self) -> None:
        self.time.start(self._wall())
        topics = COMMAND_TOPICS
        self.create_timer(self.time.period, self._on_timer, clock=self._steady)
        self.create_subscription(DeltaEECommand, topics["delta"], self._on_delta, 10)
        self.create_subscription(Float64MultiArray, topics["joint_velocity"], self._on_joint_velocity, 10)
        self.create_subscription(Float64, topics["gripper"], self._on_gripper, 10)

    def deactivate(self) -> None:
        self.arm.stop()

    def cleanup(self) -> None:
        for service in self._offered:
            self.destroy_service(service)
        self._cameras.close()
        self._transforms.close()
        for publisher in (self._joint_states, self._clock_publisher, self._description):
            if publisher is not None:
                self.destroy_publisher(publisher)

    def diagnose(self) -> list[DiagnosticStatus]:
        now = self._wall()
        rivals = self._rivals()
        loop = status(
            self,
            "loop",
            DiagnosticStatus.OK,
            "running",
            period=self.time.period,
            overruns=self._tick_loop.overruns,
            longest=round(self._tick_loop.longest, 4),
            behind=round(self.time.behind, 3),
            skipped_pictures=self._cameras.skipped,
        )
        level = DiagnosticStatus.ERROR if rivals else DiagnosticStatus.WARN if self._refused else DiagnosticStatus.OK
        text = rivals or self._last_refusal or "accepting"
        rate, age = round(self._commands.rate(now), 1), round(self._commands.age(now), 3)
        return [loop, status(self, "commands", level, text, rate=rate, age=age, refused=self._refused)]

    def _wall(self) -> float:
        return self._steady.now().nanoseconds * 1e-9

    def _on_timer(self) -> None:
        now = self._wall()
        self._tick_loop.tick(now)
        self._advance(self.time.idle(now))

    def _advance(self, duration: float) -> None:
        """Simulate and publish whatever has become due on the way."""
        ros_now = self.get_clock().now().nanoseconds * 1e-9
        for piece in self.time.pieces(duration):
            if piece.steps:
                self.arm.advance(piece.steps * self._known().physics_step)
            stamp = time_message(self.time.stamp(ros_now))
            if piece.joint_states:
                self._publish_joint_states(stamp)
            if piece.transforms:
                self._transforms.publish(stamp)
            if piece.images:
                self._cameras.publish(stamp)
            if self._clock_publisher is not None:
                self._clock_publisher.publish(ClockMessage(clock=stamp))

    def _publish_joint_states(self, stamp: object) -> None:
        fingers = self.arm.finger_positions
        message = JointState(name=[*self.arm.joint_names, *arm.FINGER_JOINTS])
        message.header.stamp, message.header.frame_id = stamp, "base_link"
        message.position = [*self.arm.joint_positions.tolist(), *fingers.tolist()]
        message.velocity = [*self.arm.joint_velocities.tolist(), 0.0, 0.0]
        self._joint_states.publish(message)

    def _on_delta(self, message: DeltaEECommand) -> None:
        command = delta_command(message, self._wall())
        ros_now = self.get_clock().now().nanoseconds * 1e-9
        if not self.time.lock_step and 0.0 < command.valid_until < ros_now:
            self._refuse(f"a command that was valid until {ros_now - command.valid_until:.3f} s ago")
            return
        gripper = None if command.gripper < 0.0 else command.gripper
        self._obey(
            lambda: self.arm.command_delta(command.translation, command.rotation, gripper, command.step, command.frame), command.step
        )

    def _on_joint_velocity(self, message: Float64MultiArray) -> None:
        self._obey(lambda: self.arm.command_joint_velocity(list(message.data)), self.time.period)

    def _on_gripper(self, message: Float64) -> None:
        self._obey(lambda: self.arm.command_gripper(message.data), None)

    def _obey(self, act: Callable[[], None], step: float | None) -> None:
        """Carry out a command unless somebody else commands the arm too; in lock-step, time then moves on by its step."""
        rivals = self._rivals()
        if rivals:
            self.arm.stop()
            self._refuse(rivals)
            return
        try:
            act()
        except WmError as error:
            self._refuse(str(error))
            return
        now = self._wall()
        self._commands.arrived(now)
        if self.time.lock_step and step is not None:
            self._advance(self.time.commanded(step, now))

    def _rivals(self) -> str:
        """A sentence when more than one node publishes on the command topics, whichever of them: then nobody is obeyed."""
        now = self._wall()
        if now >= self._next_census:
            self._next_census = now + CENSUS_PERIOD
            self._census = self._take_census()
        return self._census

    def _take_census(self) -> str:
        found = [publisher for topic in COMMAND_TOPICS.values() for publisher in self.get_publishers_info_by_topic(topic)]
        nodes = {(publisher.node_namespace, publisher.node_name) for publisher in found}
        topics = {publisher.topic_type: publisher for publisher in found}
        if len(nodes) <= 1 and len(found) == len(topics):
            return ""
        names = ", ".join(sorted({f"{namespace.rstrip('/')}/{name}" for namespace, name in nodes}))
        return f"{len(found)} publishers on the arm's command topics ({names}), 1 node is allowed: stop all but the safety guard"

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self._last_refusal = why
        self.get_logger().error(f"command refused: {why}", throttle_duration_sec=1.0)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.arm.reset(self._known().seed)
        self.time.restart(self._wall())
        response.success, response.message = True, f"at home, objects as seed {self._known().seed} puts them"
        return response


def main() -> None:
    """Run the node."""
    process.run(SimArm)
