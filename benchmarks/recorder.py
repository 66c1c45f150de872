"""The recorder under load: two cameras of 640x480 at 30 Hz and joint states at 100 Hz; what it lost, what it cost, how soon it answered.

    ./wm exec python benchmarks/recorder.py [--minutes 10] [--deaths 20]

First short episodes are begun and dropped, and others begun, kept and labelled, 20 of each, for the times of the answers; when they are
exported, the long one begins, whose answers count too. Every message carries its number, and the episode's journal is read afterwards: lost
is what is missing between the first and the last number. The CPU share is the processor time that the kernel counted for the capturing
process alone. From the journal the rows are made as the exporter makes them: how old what they show is, and how long the episode is. Then
the source is stopped now and then, and it is measured how long the recorder takes to say so. Ends with a status other than 0 when a message
was lost or a bar was missed.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import copy
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

import rclpy
from arm_system import ArmSystem
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_process import CONFIG, RosProcess, descendants
from sensor_msgs.msg import Image, JointState

from wm_core import configuration
from wm_core.data import alignment, journal
from wm_core.data.bag import Bag
from wm_core.data.recording import recorded
from wm_core.data.recording_config import Contract, RecordingConfig
from wm_core.data.recording_layout import STATE, TOLD
from wm_core.simulation import arm
from wm_ros.msg import RecorderStatus
from wm_ros.srv import RecordEpisode

WIDTH, HEIGHT, IMAGES, STATES = 640, 480, 30.0, 100.0
CAMERAS = ("left", "right")
LARGEST_SHARE, LARGEST_MEMORY, LONGEST_ANSWER = 0.7, 250.0, 0.5  # of a core, MB, s
OLDEST_PICTURE, OLDEST_STATE, LATEST_WORD = 0.033, 0.010, 0.5  # s: at the 99th percentile twice, at most
WORD = "/safety_guard/commanded"
SHORT, ROUNDS, EXPORTED = 0.5, 20, 300.0  # s of a short episode, how many are dropped and kept, s until they are in the dataset
REQUEST = RecordEpisode.Request
COMMANDS = {"DISCARD": REQUEST.DISCARD, "START": REQUEST.START, "STOP": REQUEST.STOP, "LABEL": REQUEST.LABEL}
SERVICE = "/record_lerobot/record"


def send(source: str, width: int, height: int) -> None:
    """Publish one source's topics until the process is ended; a message's number is its frame_id."""
    rclpy.init()
    node = Node(source)

    def repeat(publisher, message, rate):
        numbers = iter(range(10**9))

        def publish() -> None:
            message.header.frame_id = str(next(numbers))
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)

        node.create_timer(1.0 / rate, publish)

    if source in CAMERAS:
        data = array.array("B")
        data.frombytes(np.random.default_rng(0).integers(0, 255, width * height * 3, np.uint8).tobytes())
        picture = Image(width=width, height=height, step=width * 3, encoding="rgb8", data=data)
        repeat(node.create_publisher(Image, f"camera/{source}/image_raw", QoSProfile(depth=30)), picture, IMAGES)
    else:
        state = JointState(name=list(arm.JOINTS), position=[float(angle) for angle in arm.HOME])
        for topic in ("joint_states", WORD):
            repeat(node.create_publisher(JointState, topic, QoSProfile(depth=200)), copy.deepcopy(state), STATES)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        node.destroy_node()


def started(system: ArmSystem, folder: Path, width: int, height: int) -> list[RosProcess]:
    """The sources as on a robot, a process for each camera and one for the arm, served before others as the nodes of tests are."""
    words = [sys.executable, __file__, str(width), str(height), "--send"]
    return [RosProcess([*words, one], system.domain, folder / f"{one}.log") for one in (*CAMERAS, "arm")]


def contract(folder: Path) -> Path:
    """The shipped one with two cameras, joint states and the guard's word alone."""
    plain = yaml.safe_load((CONFIG / "record_lerobot.yaml").read_text(encoding="utf-8"))
    cameras = [{"name": name, "topic": f"camera/{name}/image_raw", "kind": "camera", "rate": IMAGES, "age": 0.25} for name in CAMERAS]
    states = {"name": "joint_states", "topic": "joint_states", "kind": "joint_states", "rate": STATES, "age": 0.05}
    word = {"name": "commanded", "topic": WORD.strip("/"), "kind": "commanded", "rate": STATES, "age": 0.1}
    path = folder / "contract.yaml"
    told = {**plain, "fps": round(IMAGES), "streams": [*cameras, states, word], "keep_journals": True}
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def robot(folder: Path) -> Path:
    """The embedded arm, with its description in a file: nobody sends it here."""
    (folder / "arm.urdf").write_text(arm.urdf(), encoding="utf-8")
    plain = yaml.safe_load((CONFIG / "ur5e.yaml").read_text(encoding="utf-8"))
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump({**plain, "description_file": "arm.urdf"}), encoding="utf-8")
    return path


def processor_time(pid: int) -> float:
    """Seconds of processor time that the process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """The most that the process ever had in memory, MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def ask(system: ArmSystem, command: int, times: list[float]) -> RecordEpisode.Response:
    """One request; how long its answer took (s) is added to `times`."""
    began = time.monotonic()
    answer = system.observer.call(RecordEpisode, SERVICE, REQUEST(command=command, episode_index=-1, success_label=REQUEST.SUCCEEDED))
    times.append(time.monotonic() - began)
    return answer


def ask_often(system: ArmSystem, recorder: RosProcess) -> dict[str, list[float]]:
    """How long each command's answers took (s) over many short episodes, all of which are exported at the end."""
    status: list[RecorderStatus] = system.observer.hear(RecorderStatus, "/record_lerobot/status")
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for end in (["DISCARD"], ["STOP", "LABEL"]):
        for _ in range(ROUNDS):
            ask_until_done(system, recorder, "START", times)
            system.pause(SHORT)
            for name in end:
                ask_until_done(system, recorder, name, times)
    status.clear()
    system.observer.until(lambda: any(one.state == RecorderStatus.IDLE for one in status[-1:]), recorder.output, EXPORTED)
    return times


def ask_until_done(system: ArmSystem, recorder: RosProcess, name: str, times: dict[str, list[float]]) -> None:
    """A refusal, as of a stream that a busy machine holds up, is an answer too."""
    system.observer.until(lambda: ask(system, COMMANDS[name], times[name]).success, recorder.output, 40.0)


def answered(times: dict[str, list[float]]) -> bool:
    """Print how soon each command was answered; whether each answer came in time."""
    for name, of_one in times.items():
        print(f"{name} is answered after {np.median(of_one):.3f} s (median of {len(of_one)}), at most {max(of_one):.3f} s")
    return max(map(max, times.values())) <= LONGEST_ANSWER


def written(capture: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Per topic the numbers and the stamps (s) of the messages in a journal."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for heard in Bag(capture).messages():
        numbers, stamps = found.setdefault(heard.topic, ([], []))
        numbers.append(int(heard.message.header.frame_id))
        stamps.append(heard.stamp)
    return found


def missing(numbers: list[int]) -> int:
    """How many messages are not there between the first and the last."""
    return max(numbers) - min(numbers) + 1 - len(set(numbers))


def aligned(capture: Path, agreed: Path, stamps: dict[str, list[float]]) -> bool:
    """Print how far from a row's moment what it shows was taken, and how long the rows last beside the recording."""
    made = recorded(Bag(capture), Contract(configuration.read(RecordingConfig, agreed), arm.urdf(), "base_link", "tool0"), "none").episode
    # A row's picture and measured joints are the newest ones; where the guard told the arm to be lies between its words before and after.
    ages = {name: made.ages[name] for name in (*made.images, STATE)} | {TOLD: _nearest(np.array(stamps[WORD]), made.stamps)}
    for name, values in ages.items():
        print(f"{name}: away from the row's moment p50 {1e3 * np.median(values):.1f}, p99 {1e3 * np.percentile(values, 99):.1f} ms")
    bars = {name: OLDEST_PICTURE if name in made.images else OLDEST_STATE for name in ages}
    young = all(values.min() >= 0.0 and np.percentile(values, 99) <= bars[name] for name, values in ages.items())
    # The recording begins when every stream has spoken; each row lasts one period.
    lasted = stamps[f"/camera/{CAMERAS[0]}/image_raw"][-1] - max(of_one[0] for of_one in stamps.values())
    error = abs(len(made) / IMAGES - lasted)
    print(f"{len(made)} rows, {1e3 * error:.1f} ms longer or shorter than the recording")
    return young and error <= 1.0 / IMAGES


def _nearest(stamps: alignment.Times, rows: alignment.Times) -> alignment.Times:
    """How far from each row the nearest of growing stamps is, s."""
    after = np.clip(np.searchsorted(stamps, rows), 1, len(stamps) - 1)
    return np.minimum(np.abs(stamps[after] - rows), np.abs(stamps[after - 1] - rows))


def deaths(system: ArmSystem, sources: list[RosProcess], count: int) -> bool:
    """Stop one source after the other, `count` times within an episode; print how long it takes until the recorder says what is silent."""
    heard: list[RecorderStatus] = system.observer.hear(RecorderStatus, "/record_lerobot/status")
    system.observer.until(lambda: ask(system, REQUEST.START, []).success, "an episode", 40.0)
    delays = []
    for number in range(count):
        system.pause(1.0 + 0.037 * number)  # at every phase of the recorder's own clock
        heard.clear()
        source = sources[number % len(sources)].pid
        os.kill(source, signal.SIGSTOP)
        died = time.monotonic()
        system.observer.until(lambda: any("silent" in status.text for status in heard), "word of the silence")
        delays.append(time.monotonic() - died)
        os.kill(source, signal.SIGCONT)
    ask(system, REQUEST.DISCARD, [])
    print(f"silence is told after {np.median(delays):.2f} s (median of {count}), at most {max(delays):.2f} s")
    return max(delays) <= LATEST_WORD


def measure(system: ArmSystem, folder: Path, seconds: float) -> bool:
    """Print what was measured; whether every bar was reached."""
    files = {"config_file": str(contract(folder)), "robot_file": str(robot(folder))}
    recorder = system.start("record_lerobot", dataset=str(folder / "set"), **files)
    system.observer.until(lambda: ask(system, REQUEST.START, []).success, recorder.output, 40.0)
    ask(system, REQUEST.DISCARD, [])
    times = ask_often(system, recorder)
    ask_until_done(system, recorder, "START", times)
    before, began = processor_time(recorder.pid), time.monotonic()
    system.observer.until(lambda: time.monotonic() - began >= seconds, recorder.output, seconds + 10.0)
    share = (processor_time(recorder.pid) - before) / (time.monotonic() - began)
    for name in ("STOP", "LABEL"):
        ask_until_done(system, recorder, name, times)
    capture = journal.folders(folder / "set.journal")[-1] / journal.CAPTURE
    found = written(capture)
    lost = {topic: missing(numbers) for topic, (numbers, _) in found.items()}
    for topic, (numbers, _) in sorted(found.items()):
        print(f"{topic}: {len(numbers)} there, {lost[topic]} lost")
    held = memory(recorder.pid)
    print(f"processor {share:.1%} of a core; memory at most {held:.0f} MB")
    alike = aligned(capture, Path(files["config_file"]), {topic: stamps for topic, (_, stamps) in found.items()})
    reached = (share <= LARGEST_SHARE, held <= LARGEST_MEMORY, answered(times), alike)
    return all(reached) and len(found) == len(CAMERAS) + 2 and not any(lost.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the episode (default 10; 33 GB of disk)")
    parser.add_argument("--folder", help="where the episode is written (default: the system's place for temporary files)")
    parser.add_argument("--deaths", type=int, default=20, help="how often the source is stopped afterwards (default 20)")
    parser.add_argument("--send", choices=(*CAMERAS, "arm"), help=argparse.SUPPRESS)
    parser.add_argument("size", type=int, nargs="*", default=[WIDTH, HEIGHT], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send, *chosen.size)
        return 0
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        system = ArmSystem(Path(folder))
        sources = started(system, Path(folder), WIDTH, HEIGHT)
        try:
            reached = measure(system, Path(folder), 60.0 * chosen.minutes)
            return 0 if deaths(system, sources, chosen.deaths) and reached else 1
        finally:
            for source in sources:
                source.end(signal.SIGKILL)  # nothing of it is to be kept, and rclpy takes polite signals for itself
            # The exporter is to outlive a recorder, but not the folder of this one.
            exporters = descendants(system.processes["record_lerobot"].pid) if "record_lerobot" in system.processes else []
            system.close()
            for pid in exporters:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
