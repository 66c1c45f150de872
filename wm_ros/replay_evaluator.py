"""Node `replay_evaluator`: hears a bag that is played, or reads one itself, and reports what model and planner make of it."""

from __future__ import annotations

from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor
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
from wm_core.simulation import arm
from wm_core.vision.load import load_encoder
from wm_ros import process, robot_description
from wm_ros.capture import Capture
from wm_ros.lifecycle import WmNode, status

LOOK = 0.2  # s between two looks for publishers and for silence
TEXTS = {
    "bag": "rosbag2 directory or .mcap file that is read by the node itself; empty: topics are heard",
    "out": "directory of the report",
    "model": "folder with encoder/ and world_model/ (and decoder/); empty: the embedded one that ships",
    "contract": "YAML that says which topics are read; empty: the shipped record_lerobot.yaml",
}


class ReplayEvaluator(WmNode[ReplayConfig]):
    """Ends with a report: when it is told (~/finish), when what was played falls silent, or when its own bag is read."""

    def __init__(self) -> None:
        super().__init__("replay_evaluator", ReplayConfig, "replay.yaml")
        robot_description.declare(self)
        for name, text in TEXTS.items():
            self.declare_parameter(name, "out/replay" if name == "out" else "", ParameterDescriptor(description=text, read_only=True))

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS, *TEXTS)

    def configure(self, config: ReplayConfig) -> None:
        torch.set_num_threads(1)
        folder = Path(self._told("model") or shipped.model("encoder").parent)
        parts = {name: folder / name for name in ("encoder", "world_model", "decoder")}
        self._encoder = load_encoder(str(parts["encoder"]), torch.device("cpu"))
        decoder = parts["decoder"] if parts["decoder"].is_dir() else None
        robot = Path(str(self.get_parameter("robot_file").value))
        self._models = Models(parts["world_model"], decoder, shipped.shipped("planner.yaml"), shipped.shipped("safety_guard.yaml"), robot)
        read = configuration.read(RecordingConfig, self._told("contract") or shipped.shipped("record_lerobot.yaml"))
        self._contract, self._begun = self._robot(read), False
        self._said = "waiting"
        self._new()

    def activate(self) -> None:
        self.create_service(Trigger, "~/finish", self._on_finish)
        if self._told("bag"):
            self._once = self.create_timer(0.0, self._read, clock=self._steady)
            return
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

    def _robot(self, read: RecordingConfig) -> Contract:
        """The robot on the topic robot_description where one is, else the embedded arm: a bag that is played needs no robot."""
        try:
            robot, urdf = robot_description.read(self)
        except WmError as error:
            self.get_logger().info(f"the embedded arm's description is used: {error.what}")
            return Contract(read, arm.urdf(), "base_link", "tool0")
        return Contract(read, urdf, robot.base_link, robot.tool_link)

    def _new(self) -> None:
        """What was heard is forgotten."""
        self._replay = Replay(self._encoder, self._contract)
        wanted = [stream for stream in self._contract.config.streams if stream.kind in (COMMANDED, GUARD)]
        streams = (self._contract.config.cameras[0], *wanted)
        self._capture = Capture(self, streams, lambda: self._steady.now().nanoseconds * 1e-9)
        self._kinds = {one.topic: one.config.kind for one in self._capture.heard.values()}

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
            self._finish("what was heard")

    def _read(self) -> None:
        self.destroy_timer(self._once)
        try:
            self._replay = replayed(Bag(Path(self._told("bag"))), self._encoder, self._contract)
        except WmError as error:
            self._say_error(str(error))
            return
        self._finish(Path(self._told("bag")).name)

    def _on_finish(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._finish("what was heard")
        return response

    def _finish(self, name: str) -> tuple[bool, str]:
        """Write the report of what was heard so far, and begin anew."""
        heard, self._begun = self._replay, False
        for one in self._capture.heard.values():
            if one.drops:
                heard.missed[f"messages of {one.topic} that were lost on the way"] = one.drops
        try:
            page = report(heard, self._models, self._known(), name, Path(self._told("out")))
        except WmError as error:
            self._say_error(str(error))
            return False, str(error)
        finally:
            self._replay = Replay(heard.encoder, heard.contract)
            self._capture.begin()
        self._said = f"the report is {page}"
        self.get_logger().info(self._said)
        return True, self._said

    def _say_error(self, text: str) -> None:
        self._said = text
        self.get_logger().error(text)


def main() -> None:
    """Run the node."""
    process.run(ReplayEvaluator)
