"""Node `replay_evaluator`: hears a bag that is played, or reads one itself, and reports what model and planner make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor
from std_msgs.msg import String
from std_srvs.srv import Trigger

from wm_core import configuration
from wm_core.cli import shipped
from wm_core.data.bag import Bag
from wm_core.data.heard import Heard
from wm_core.data.recording_config import COMMANDED, GUARD, Contract, RecordingConfig
from wm_core.errors import WmError
from wm_core.evaluation.replay import Replay, replayed
from wm_core.evaluation.replay_config import ReplayConfig
from wm_core.evaluation.replay_report import Models, report
from wm_core.robot.robot_config import RobotConfig, read_description
from wm_core.simulation import arm
from wm_core.vision.load import load_encoder
from wm_ros import process
from wm_ros.capture import Capture
from wm_ros.lifecycle import WmNode, status
from wm_ros.robot_description import LATCHED

LOOK = 0.2  # s between two looks for publishers and for silence
TEXTS = {
    "bag": "rosbag2 directory or .mcap file that is read by the node itself; empty: topics are heard",
    "out": "directory of the report",
    "model": "folder with encoder/ and world_model/ (and decoder/); empty: the embedded one that ships",
    "contract": "YAML that says which topics are read; empty: the shipped record_lerobot.yaml",
    "robot_file": "YAML of the robot; where it names no URDF, the bag or topic robot_description brings it; empty: the shipped ur5e.yaml",
}


class ReplayEvaluator(WmNode[ReplayConfig]):
    """Ends with a report: when it is told (~/finish), when what was played falls silent, or when its own bag is read."""

    def __init__(self) -> None:
        super().__init__("replay_evaluator", ReplayConfig, "replay.yaml")
        for name, text in TEXTS.items():
            self.declare_parameter(name, "out/replay" if name == "out" else "", ParameterDescriptor(description=text, read_only=True))

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *TEXTS)

    def configure(self, config: ReplayConfig) -> None:
        torch.set_num_threads(1)
        folder = Path(self._told("model") or shipped.model("encoder").parent)
        parts = {name: folder / name for name in ("encoder", "world_model", "decoder")}
        self._encoder = load_encoder(str(parts["encoder"]), torch.device("cpu"))
        decoder = parts["decoder"] if parts["decoder"].is_dir() else None
        robot = Path(self._told("robot_file") or shipped.shipped("ur5e.yaml"))
        self._models = Models(parts["world_model"], decoder, shipped.shipped("planner.yaml"), shipped.shipped("safety_guard.yaml"), robot)
        self._recording = configuration.read(RecordingConfig, self._told("contract") or shipped.shipped("record_lerobot.yaml"))
        self._robot = configuration.read(RobotConfig, robot)
        self._embedded = Contract(self._recording, arm.urdf(), "base_link", "tool0")
        self._own = self._described = read_description(self._robot, robot) or ""
        self._said = "waiting"
        self._new()
        wanted = [stream for stream in self._recording.streams if stream.kind in (COMMANDED, GUARD)]
        self._capture = Capture(self, (self._recording.cameras[0], *wanted), lambda: self._steady.now().nanoseconds * 1e-9)
        self._kinds = {one.topic: one.config.kind for one in self._capture.heard.values()}

    def activate(self) -> None:
        self.create_service(Trigger, "~/finish", self._on_finish)
        if self._told("bag"):
            self._once = self.create_timer(0.0, self._read, clock=self._steady)
            return
        if not self._own:
            self.create_subscription(String, "robot_description", self._on_description, LATCHED)
        self._capture.sink = self._hear
        self._capture.look()
        self.create_timer(LOOK, self._look, clock=self._steady)

    def deactivate(self) -> None:
        self._capture.sink = None
        self._capture.close()

    def diagnose(self) -> list[DiagnosticStatus]:
        frames = len(self._replay.frames)
        return [status(self, "replay", DiagnosticStatus.OK, self._said, frames=frames, missed=sum(self._replay.missed.values()))]

    def _told(self, name: str) -> str:
        return str(self.get_parameter(name).value or "")

    def _contract(self, urdf: str) -> Contract:
        """With the arm of this description; with the embedded one where there is none: a bag needs no robot."""
        if urdf:
            return Contract(self._recording, urdf, self._robot.base_link, self._robot.tool_link)
        self.get_logger().warning("no robot description came: the guard's words are taken as those of the embedded arm")
        return self._embedded

    def _new(self) -> None:
        """What was heard is forgotten."""
        self._replay, self._begun = Replay(self._encoder, self._embedded, played=True), False

    def _on_description(self, message: String) -> None:
        self._described = str(message.data)

    def _hear(self, topic: str, kind: str, received: float, stamp: float, data: bytes) -> None:
        if not self._begun:
            self.get_logger().info("the recording begins")
        self._begun, self._said = True, "hearing"
        self._replay.hear(Heard(topic, kind, received, data), self._kinds[topic])

    def _look(self) -> None:
        self._capture.look()
        now = self._steady.now().nanoseconds * 1e-9
        if self._begun and min(one.arrivals.age(now) for one in self._capture.heard.values()) > self._known().quiet:
            self.get_logger().info("the recording fell silent")
            self._finish()

    def _read(self) -> None:
        self.destroy_timer(self._once)
        path = Path(self._told("bag"))
        self._report(lambda: self._recorded(Bag(path)), path.name)

    def _recorded(self, bag: Bag) -> Replay:
        return replayed(bag, self._encoder, self._contract(self._own or bag.description))

    def _on_finish(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._finish()
        return response

    def _finish(self) -> tuple[bool, str]:
        """Report what was heard so far, and begin anew."""
        heard = self._replay
        self._new()
        return self._report(lambda: heard.judged(self._contract(self._described)), "what was heard")

    def _report(self, recording: Callable[[], Replay], name: str) -> tuple[bool, str]:
        try:
            page = report(recording(), self._models, self._known(), name, Path(self._told("out")))
        except WmError as error:
            self._say_error(str(error))
            return False, str(error)
        self._said = f"the report is {page}"
        self.get_logger().info(self._said)
        return True, self._said

    def _say_error(self, text: str) -> None:
        self._said = text
        self.get_logger().error(text)


def main() -> None:
    """Run the node."""
    process.run(ReplayEvaluator)
