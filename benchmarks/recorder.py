"""The recorder under load: two cameras of 640x480 at 30 Hz and joint states at 100 Hz; what it lost, what it cost, how soon it answered.

    ./wm exec python benchmarks/recorder.py [--minutes 10]

Every message carries its number, and the episode's journal is read afterwards: lost is what is missing between the first and the last
number. The CPU share is the processor time that the kernel counted for the capturing process alone. Ends with a status other than 0 when a
message was lost, or a bar of the processor, the memory or the answers was missed.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import os
import signal
import subprocess
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
from ros_process import CONFIG, descendants
from sensor_msgs.msg import Image, JointState

from wm_core.data import journal
from wm_core.data.bag import Bag
from wm_core.simulation import arm
from wm_ros.srv import RecordEpisode

WIDTH, HEIGHT, IMAGES, STATES = 640, 480, 30.0, 100.0
CAMERAS = ("left", "right")
LARGEST_SHARE, LARGEST_MEMORY, LONGEST_ANSWER = 0.7, 250.0, 0.5  # of a core, MB, s
REQUEST = RecordEpisode.Request
SERVICE = "/record_lerobot/record"


def send() -> None:
    """Publish until the process is ended; a message's number is its frame_id."""
    rclpy.init()
    node = Node("source")
    data = array.array("B")
    data.frombytes(np.random.default_rng(0).integers(0, 255, WIDTH * HEIGHT * 3, np.uint8).tobytes())

    def repeat(publisher, message, rate):
        numbers = iter(range(10**9))

        def publish() -> None:
            message.header.frame_id = str(next(numbers))
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)

        node.create_timer(1.0 / rate, publish)

    for name in CAMERAS:
        picture = Image(width=WIDTH, height=HEIGHT, step=WIDTH * 3, encoding="rgb8", data=data)
        repeat(node.create_publisher(Image, f"camera/{name}/image_raw", QoSProfile(depth=30)), picture, IMAGES)
    state = JointState(name=list(arm.JOINTS), position=[float(angle) for angle in arm.HOME])
    repeat(node.create_publisher(JointState, "joint_states", QoSProfile(depth=200)), state, STATES)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        node.destroy_node()


def contract(folder: Path) -> Path:
    """The shipped one with two cameras and joint states alone."""
    plain = yaml.safe_load((CONFIG / "record_lerobot.yaml").read_text(encoding="utf-8"))
    cameras = [{"name": name, "topic": f"camera/{name}/image_raw", "kind": "camera", "rate": IMAGES, "age": 0.25} for name in CAMERAS]
    states = {"name": "joint_states", "topic": "joint_states", "kind": "joint_states", "rate": STATES, "age": 0.05}
    path = folder / "contract.yaml"
    path.write_text(yaml.safe_dump({**plain, "streams": [*cameras, states], "keep_journals": True}), encoding="utf-8")
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


def losses(capture: Path) -> dict[str, tuple[int, int]]:
    """Per topic how many messages are there, and how many are missing between the first and the last."""
    numbers: dict[str, list[int]] = {}
    for heard in Bag(capture).messages():
        numbers.setdefault(heard.topic, []).append(int(heard.message.header.frame_id))
    return {topic: (len(seen), max(seen) - min(seen) + 1 - len(set(seen))) for topic, seen in numbers.items()}


def measure(system: ArmSystem, folder: Path, seconds: float) -> bool:
    """Print what was measured; whether every bar was reached."""
    files = {"config_file": str(contract(folder)), "robot_file": str(robot(folder))}
    recorder = system.start("record_lerobot", dataset=str(folder / "set"), **files)
    times: list[float] = []
    system.observer.until(lambda: ask(system, REQUEST.START, []).success, recorder.output, 40.0)
    ask(system, REQUEST.DISCARD, times)
    system.observer.until(lambda: ask(system, REQUEST.START, times).success, recorder.output, 40.0)
    before, began = processor_time(recorder.pid), time.monotonic()
    system.observer.until(lambda: time.monotonic() - began >= seconds, recorder.output, seconds + 10.0)
    share = (processor_time(recorder.pid) - before) / (time.monotonic() - began)
    ask(system, REQUEST.STOP, times)
    ask(system, REQUEST.LABEL, times)
    found = losses(journal.folders(folder / "set.journal")[0] / journal.CAPTURE)
    for topic, (there, lost) in sorted(found.items()):
        print(f"{topic}: {there} there, {lost} lost")
    held = memory(recorder.pid)
    print(f"processor {share:.1%} of a core; memory at most {held:.0f} MB; slowest of {len(times)} answers {max(times):.3f} s")
    reached = (share <= LARGEST_SHARE, held <= LARGEST_MEMORY, max(times) <= LONGEST_ANSWER)
    return all(reached) and len(found) == len(CAMERAS) + 1 and not any(lost for _, lost in found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the episode (default 10; 7 GB of disk)")
    parser.add_argument("--folder", help="where the episode is written (default: the system's place for temporary files)")
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send()
        return 0
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        system = ArmSystem(Path(folder))
        source = subprocess.Popen([sys.executable, __file__, "--send"], env=system.domain.environment())
        try:
            return 0 if measure(system, Path(folder), 60.0 * chosen.minutes) else 1
        finally:
            source.kill()  # nothing of it is to be kept, and rclpy takes polite signals for itself
            source.wait()
            # The exporter is to outlive a recorder, but not the folder of this one.
            exporters = descendants(system.processes["record_lerobot"].pid) if "record_lerobot" in system.processes else []
            system.close()
            for pid in exporters:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
