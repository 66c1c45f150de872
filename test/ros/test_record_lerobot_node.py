"""Protects recording as a user does it: START and STOP at running nodes, a kill in between, streams that die, and a dataset that loads."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from arm_system import CALM, ArmSystem
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from recordings import contract, write_journal
from ros_process import CONFIG, RosProcess
from sensor_msgs.msg import Image
from std_msgs.msg import String

from wm_core import configuration
from wm_core.data import dataset_growth, journal
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.reader import DatasetReader
from wm_ros.conversions import time_message
from wm_ros.images import image_message
from wm_ros.msg import RecorderStatus
from wm_ros.srv import RecordEpisode, SaveGoal

REQUEST = RecordEpisode.Request
SERVICE = "/record_lerobot/record"


class Recording(ArmSystem):
    """Arm and guard, and a recorder that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.dataset = folder / "set"
        self.heard: list[RecorderStatus] = self.observer.hear(RecorderStatus, "/record_lerobot/status")

    def record(self) -> RosProcess:
        return self.start("record_lerobot", dataset=str(self.dataset))

    def ask(self, command: int, **fields: object) -> RecordEpisode.Response:
        return self.observer.call(RecordEpisode, SERVICE, REQUEST(command=command, **fields))

    def begin(self, **fields: object) -> None:
        answers: list[str] = []

        def begun() -> bool:
            answer = self.ask(REQUEST.START, **fields)
            answers.append(answer.message)
            return bool(answer.success)

        self.observer.until(begun, lambda: f"an episode begins; {answers[-2:]}; {self.said()}", within=30.0)

    def await_status(self, wanted: Callable[[RecorderStatus], object], what: str, within: float = 20.0) -> RecorderStatus:  # type: ignore[override]
        seen = len(self.heard)
        self.observer.until(lambda: any(map(wanted, self.heard[seen:])), lambda: f"{what}; last: {self.heard[-1:]}", within)
        return next(filter(wanted, self.heard[seen:]))

    def await_exported(self, episodes: int) -> None:
        log = lambda: (journal.root_of(self.dataset) / "exporter.log").read_text() if self.dataset.parent.is_dir() else ""  # noqa: E731
        self.observer.until(lambda: self.dataset.is_dir() and len(dataset_growth.labels(self.dataset)) == episodes, log, within=120.0)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    made = Recording(tmp_path_factory.mktemp("recording"))
    try:
        made.bring_up("sim_arm", "safety_guard", **CALM)
        made.record()
        yield made
    finally:
        made.close()


def test_episodes_of_a_running_arm_become_a_dataset(system: Recording) -> None:
    system.begin(task="draw a line")
    system.arm()
    stop = system.feed([0.0, 0.01, 0.0])
    system.await_motion()
    system.pause(1.5)
    stop()
    answer = system.ask(REQUEST.STOP, success_label=REQUEST.SUCCEEDED)
    assert (answer.success, answer.episode_index) == (True, 0), answer.message
    system.await_exported(1)
    assert dataset_growth.labels(system.dataset)[0]["success"] == "succeeded"
    reader = DatasetReader(system.dataset, configuration.read(DatasetConfig, CONFIG / "datasets" / "embedded_arm.yaml"))
    rows = int(reader.metadata.length[0])
    actions, known = reader.actions(0, np.arange(rows))
    assert known.mean() > 0.7
    way = reader.columns(0)["observation.state"][:, :3]
    assert actions[:, 1].sum() > 0.02, "the arm went along y"
    assert np.allclose(actions[known][:, :3].sum(axis=0), (way[-1] - way[0]), atol=0.01)


def test_requests_are_answered_with_their_codes(system: Recording) -> None:
    assert system.ask(REQUEST.STOP).code == RecordEpisode.Response.NOT_RECORDING
    assert system.ask(REQUEST.LABEL, episode_index=77).code == RecordEpisode.Response.NO_EPISODE
    assert system.ask(9).code == RecordEpisode.Response.INVALID
    assert system.ask(REQUEST.START, success_label=200).code == RecordEpisode.Response.INVALID
    system.begin()
    assert system.ask(REQUEST.START).code == RecordEpisode.Response.ALREADY_RECORDING
    assert system.ask(REQUEST.DISCARD).success
    system.await_status(lambda status: status.state != RecorderStatus.RECORDING, "no more recording")


def test_words_of_a_topic_are_commands_too(system: Recording) -> None:
    say = system.observer.sender(String, "/record_lerobot/command")
    system.observer.until(
        lambda: say(String(data="nonsense")) or any("unknown command" in one.text for one in system.heard[-5:]), "a complaint"
    )
    say(String(data="start"))
    system.await_status(lambda status: status.state == RecorderStatus.RECORDING and status.frames > 0, "recording by a word")
    say(String(data="discard"))
    system.await_status(lambda status: "is dropped" in status.text, "dropped by a word")


def test_the_controller_is_asked_to_keep_a_goal_and_where_none_runs_that_is_said(system: Recording) -> None:
    say = system.observer.sender(String, "/record_lerobot/command")

    def said(word: str, text: str) -> None:
        asked = lambda: say(String(data=word)) or any(text in one.text for one in system.heard[-5:])  # noqa: E731
        system.observer.until(asked, lambda: f"{text}; last: {system.heard[-1:]}")

    said("goal cup", "goal 'cup' is not kept: nobody offers /mpc_controller/save_goal; start mpc_controller")
    names: list[str] = []

    def keep(request: SaveGoal.Request, response: SaveGoal.Response) -> SaveGoal.Response:
        names.append(request.name)
        response.success, response.message = "/" not in request.name, f"/goals/{request.name}"
        return response

    offered = system.observer.node.create_service(SaveGoal, "/mpc_controller/save_goal", keep)
    said("goal cup", "goal 'cup' is kept in /goals/cup")
    said("goal a/b", "goal 'a/b' is not kept: /goals/a/b")
    say(String(data="goal"))
    system.observer.until(lambda: any(name.startswith("view-") for name in names), lambda: f"a name of its own; {names}")
    system.observer.node.destroy_service(offered)


def test_a_journal_that_became_no_episode_is_a_fault_until_it_is_removed(system: Recording) -> None:
    told: list[DiagnosticArray] = system.observer.hear(DiagnosticArray, "/diagnostics")
    levels = lambda: {one.level for each in told for one in each.status if one.name == "/record_lerobot: recorder"}  # noqa: E731
    failed = write_journal(journal.root_of(system.dataset), 900, [], contract(), finish=False)
    replace(failed, state=journal.FAILED).save()
    fault = system.await_status(lambda status: status.state == RecorderStatus.FAULT and "could not be exported" in status.text, "a fault")
    assert str(failed.folder) in fault.text
    system.observer.until(lambda: DiagnosticStatus.WARN in levels(), "the same in the diagnostics")
    shutil.rmtree(failed.folder)
    system.await_status(lambda status: status.state == RecorderStatus.IDLE, "the fault is over")
    told.clear()
    system.observer.until(lambda: DiagnosticStatus.OK in levels(), "the same in the diagnostics")


def test_a_stream_that_dies_is_named_within_half_a_second_and_a_kill_loses_nothing(system: Recording) -> None:
    system.begin(task="die")
    system.await_status(lambda status: status.frames >= 5, "some frames")
    system.processes["sim_arm"].send(signal.SIGSTOP)
    died = system.observer.now()
    complaint = system.await_status(lambda status: "silent" in status.text, "the dead stream is named")
    assert complaint.header.stamp.sec + 1e-9 * complaint.header.stamp.nanosec - died < 1.0  # half a second, and the status's own period
    assert "/camera/front/image_raw" in complaint.text or "/joint_states" in complaint.text
    recorder = system.processes["record_lerobot"]
    recorder.send(signal.SIGKILL)
    recorder.wait()
    system.processes["sim_arm"].send(signal.SIGCONT)
    again = system.record()
    system.observer.until(lambda: "salvaged" in again.output(), again.output, within=30.0)
    system.await_exported(2)
    said = dataset_growth.labels(system.dataset)[1]
    assert said["task"] == "die"
    assert "salvaged" in " ".join(said["faults"])


def test_a_second_recorder_on_the_dataset_is_refused(system: Recording) -> None:
    other = system.start("record_lerobot", node="other", dataset=str(system.dataset))
    system.observer.until(lambda: "another recorder works on set" in other.output(), other.output, within=30.0)
    other.end()


def test_stamps_of_another_time_refuse_an_episode(system: Recording, tmp_path: Path) -> None:
    plain = yaml.safe_load((CONFIG / "record_lerobot.yaml").read_text(encoding="utf-8"))
    camera = {"name": "odd", "topic": "odd/image_raw", "kind": "camera", "rate": 20.0, "age": 0.5}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump({**plain, "streams": [camera]}), encoding="utf-8")
    recorder = system.start("record_lerobot", node="odd", dataset=str(tmp_path / "odd"), config_file=str(tmp_path / "odd.yaml"))
    send, stamp = system.observer.sender(Image, "odd/image_raw"), [lambda now: 1000.0]
    pixels = np.zeros((8, 8, 3), np.uint8)
    stop = system.observer.repeat(0.05, lambda: send(image_message(pixels, "odd", time_message(stamp[0](system.observer.now())))))
    answers: list[str] = []

    def start() -> RecordEpisode.Response:
        answer = system.observer.call(RecordEpisode, "/odd/record", REQUEST(command=REQUEST.START))
        answers.append(answer.message)
        return answer

    try:
        for words, of in (("stand still", stamp[0]), ("behind the clock", lambda now: now - 100.0)):
            stamp[0] = of
            system.observer.until(lambda words=words: words in start().message, lambda: f"{answers[-3:]}; {recorder.output()}", within=30.0)
        stamp[0] = lambda now: now
        system.observer.until(lambda: start().success, lambda: f"{answers[-3:]}", within=30.0)
        assert system.observer.call(RecordEpisode, "/odd/record", REQUEST(command=REQUEST.DISCARD)).success
    finally:
        stop()
        recorder.end()


def test_the_capturing_process_is_small(system: Recording) -> None:
    recorder = system.processes["record_lerobot"]
    mapped = recorder.mapped_files()
    for heavy in ("torch", "lerobot", "/av/", "mujoco"):
        assert heavy not in mapped
    resident = next(line for line in Path(f"/proc/{recorder.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 250_000, "kB"


def test_the_unmodified_package_loads_what_was_recorded(system: Recording) -> None:
    program = f"""
from lerobot.datasets import LeRobotDataset
read = LeRobotDataset("local/set", root={str(system.dataset)!r}, video_backend="pyav")
print(read.num_episodes, len(read), tuple(read[len(read) - 1]["observation.images.front"].shape))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("2 "), done.stderr
    assert done.stdout.strip().endswith("(3, 96, 96)")
