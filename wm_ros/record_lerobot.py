"""Node `record_lerobot`: captures episodes as a contract says; another process writes them into a LeRobot dataset."""

from __future__ import annotations

import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor
from std_msgs.msg import String

from wm_core.data.footage import size_of
from wm_core.data.journal import FINISHED, SUCCESS
from wm_core.data.lerobot_writer import Layout
from wm_core.data.recorder import Answer, Code, Recorder, Wish
from wm_core.data.recorder_condition import Condition, Known, condition
from wm_core.data.recorder_words import Command, WordError, goal_asked, meant
from wm_core.data.recording_config import CAMERA, Contract, RecordingConfig
from wm_core.data.recording_layout import layout_of
from wm_ros import process, robot_description
from wm_ros.capture import Capture
from wm_ros.conversions import time_message
from wm_ros.exporting import Exporting
from wm_ros.goal_keeping import GoalKeeping
from wm_ros.keyboard import Keyboard
from wm_ros.lifecycle import WmNode, status
from wm_ros.msg import RecorderStatus
from wm_ros.srv import RecordEpisode

DATASET = "recordings/episodes"
UNNAMED = "view-%Y%m%d-%H%M%S"  # a goal that nobody named
WATCH, STATUS, KEYS = 0.1, 0.5, 0.05  # s


class RecordLerobot(WmNode[RecordingConfig]):
    """START, STOP, DISCARD and LABEL come by service, by topic and by key; that the view be kept as a goal, by topic and by key."""

    def __init__(self) -> None:
        super().__init__("record_lerobot", RecordingConfig, "record_lerobot.yaml")
        robot_description.declare(self)
        text = "directory of the LeRobot dataset; it grows if it is there"
        self.declare_parameter("dataset", DATASET, ParameterDescriptor(description=text, read_only=True))

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS, "dataset")

    def configure(self, config: RecordingConfig) -> None:
        robot, urdf = robot_description.read(self)
        dataset = Path(str(self.get_parameter("dataset").value)).expanduser().absolute()
        self._recorder = Recorder(dataset, Contract(config, urdf, robot.base_link, robot.tool_link))
        self._exporting = Exporting(dataset, config.linger)
        self._capture = Capture(self, config.streams, self._now, config.clock_difference)
        self._said, self._complaints, self._troubles = "waiting for START", list[str](), set[str]()
        self._status = self.create_publisher(RecorderStatus, "~/status", 10)
        self._goals = GoalKeeping(self, self._say)
        self.get_logger().info(f"episodes go to {dataset}")
        for one in self._recorder.salvaged:
            self.get_logger().warning(f"episode {one.number} was left by a recorder that was killed: salvaged, and will be exported")
        for error in self._recorder.unreadable:
            self.get_logger().warning(str(error))

    def activate(self) -> None:
        self._keyboard = Keyboard()
        if self._keyboard.help():
            self.get_logger().info(self._keyboard.help())
        self._capture.sink = self._write
        self.create_service(RecordEpisode, "~/record", self._on_request)
        self.create_subscription(String, "~/command", self._on_command, 10)
        self.create_timer(WATCH, self._watch, clock=self._steady)
        self.create_timer(STATUS, self._report, clock=self._steady)
        self.create_timer(KEYS, self._on_keys, clock=self._steady)
        self._capture.look()

    def deactivate(self) -> None:
        self._keyboard.close()
        self._capture.sink = None
        self._capture.close()
        if self._recorder.recording:
            self.get_logger().warning(self._recorder.stop(Wish()).text)
        self._exporting.keep_going(self._now())

    def cleanup(self) -> None:
        self._recorder.close()
        self._goals.close()
        self.destroy_publisher(self._status)

    def diagnose(self) -> list[DiagnosticStatus]:
        now = self._now()
        parts = []
        for name, one in self._capture.heard.items():
            complaint = one.complaint(now, self._recorder.recording)
            level = DiagnosticStatus.ERROR if complaint else DiagnosticStatus.OK
            numbers = {"rate": f"{one.arrivals.rate(now):.1f}", "age": f"{one.arrivals.age(now):.3f}", "drops": one.drops}
            parts.append(status(self, name, level, complaint or "heard", **numbers, backwards=one.backwards))
        how, pending = self._condition(), len(self._exporting.journals().get(FINISHED, ()))
        own = status(self, "recorder", bytes([how.level]), "; ".join(how.troubles) or self._said, pending=pending)
        return [own, *parts]

    def _condition(self) -> Condition:
        recorder, exporting = self._recorder, self._exporting
        capturing = recorder.number if recorder.recording else -1
        return condition(Known(capturing, exporting.journals(), recorder.refusal(), exporting.fault))

    def _now(self) -> float:
        return self._steady.now().nanoseconds * 1e-9

    def _write(self, topic: str, kind: str, received: float, stamp: float, data: bytes) -> None:
        ended = self._recorder.write(topic, kind, received, stamp, data, kind.endswith("Image"))
        if ended:
            self._say(ended, error=True)

    def _watch(self) -> None:
        """Find what came, name what ceased, and see that what was captured is exported."""
        self._capture.look()
        complaints = self._capture.complaints(self._recorder.recording)
        for text in set(complaints) - set(self._complaints):
            if self._recorder.recording:
                self._say(text, error=True)
        self._complaints = complaints
        ended = self._recorder.watch(complaints)
        if ended:
            self._say(ended, error=True)
        self._exporting.keep_going(self._now())

    def _on_request(self, request: RecordEpisode.Request, response: RecordEpisode.Response) -> RecordEpisode.Response:
        if request.success_label >= len(SUCCESS) or request.command > Command.LABEL:
            answer = Answer(Code.INVALID, f"command {request.command} with success_label {request.success_label}; see srv/RecordEpisode")
        else:
            wish = Wish(request.task, SUCCESS[request.success_label], request.robot, request.workspace)
            answer = self._obey(Command(request.command), wish, int(request.episode_index))
        response.success, response.code = answer.code == Code.SUCCESS, int(answer.code)
        response.message, response.episode_index = answer.text, answer.episode
        return response

    def _obey(self, command: Command, wish: Wish, index: int = -1) -> Answer:
        if command == Command.START:
            self._capture.look()
            answer = self._recorder.start(wish, self._capture.complaints(self._recorder.recording), self._layout)
            if answer.code == Code.SUCCESS:
                self._capture.begin()
        elif command == Command.STOP:
            answer = self._recorder.stop(wish)
        elif command == Command.DISCARD:
            answer = self._recorder.discard()
        else:
            answer = self._recorder.label(index, wish)
        self._say(answer.text, error=answer.code != Code.SUCCESS)
        return answer

    def _on_command(self, message: String) -> None:
        self._told(message.data)

    def _on_keys(self) -> None:
        for word in self._keyboard.pressed():
            self._told(word)

    def _told(self, word: str) -> None:
        """A word of the topic or the keyboard."""
        goal = goal_asked(word, time.strftime(UNNAMED))
        if goal is not None:
            self._goals.ask(goal)
            return
        try:
            command, wish = meant(word, self._recorder.recording)
        except WordError as error:
            self._say(str(error), error=True)
        else:
            self._obey(command, wish)

    def _layout(self) -> Layout:
        """Of the rows that would be recorded now."""
        heard = self._capture.heard
        sizes = {name: size_of(one.kind, one.latest) for name, one in heard.items() if one.config.kind == CAMERA}
        return layout_of(self._recorder.contract, sizes)

    def _say(self, text: str, error: bool = False) -> None:
        self._said = text
        # rclpy ties the severity to the line of code.
        if error:
            self.get_logger().error(text)
        else:
            self.get_logger().info(text)
        self._report()

    def _report(self) -> None:
        now, heard, how = self._now(), self._capture.heard.values(), self._condition()
        message = RecorderStatus(state=int(how.state), episode=self._recorder.number, frames=self._recorder.frames)
        message.header.stamp = time_message(self.get_clock().now().nanoseconds * 1e-9)
        message.streams = [one.config.name for one in heard]
        message.rates = [float(one.arrivals.rate(now)) for one in heard]
        message.drops = [int(one.drops) for one in heard]
        message.ages = [float(min(one.arrivals.age(now), 1e9)) for one in heard]
        complaints = self._complaints if self._recorder.recording else []
        message.text = "; ".join([*how.troubles, *(complaints or [self._said])])
        self._status.publish(message)
        self._log(how.troubles)

    def _log(self, troubles: tuple[str, ...]) -> None:
        """Say each trouble once, for as long as it lasts; the numbers behind its first words change."""
        for text in troubles:
            if text.split(";")[0] not in self._troubles:
                self.get_logger().error(text)
        self._troubles = {text.split(";")[0] for text in troubles}


def main() -> None:
    """Run the node."""
    process.run(RecordLerobot)
