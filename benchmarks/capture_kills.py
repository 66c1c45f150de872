"""Recorders that are killed at random moments: no episode that was kept may be lost, and of the one in progress next to nothing.

    ./wm exec python benchmarks/capture_kills.py [--kills 50] [--seed 0]

Two cameras of 96x96 at 30 Hz, joint states and the guard's word at 100 Hz, each message with its number. Before each kill one episode is
kept by STOP and another begun; an observer beside the recorder knows which numbers were out when the kill came. Ends with a status other
than 0 when a kept episode is missing, or when of the one in progress more than three pictures of a camera or one message of another topic.
The exporter is kept from starting: `recorder_kills.py` is about exporters.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

from arm_system import ArmSystem
from recorder import CAMERAS, REQUEST, WORD, ask, contract, missing, robot, started, written
from sensor_msgs.msg import Image, JointState

from wm_core.data import journal
from wm_core.data.bag import Bag
from wm_core.data.journal import Lock

SIDE, PICTURES, MESSAGES = 96, 3, 1
TOPICS = {f"/camera/{name}/image_raw": Image for name in CAMERAS} | {"/joint_states": JointState, WORD: JointState}


def killed_once(system: ArmSystem, files: dict[str, str], dataset: Path, heard: dict[str, list], wait: float) -> tuple[int, dict[str, int]]:
    """Record, keep, begin another and kill after `wait` (s); the number of the kept episode, and the newest numbers that were out."""
    recorder = system.start("record_lerobot", dataset=str(dataset), **files)
    system.observer.until(lambda: ask(system, REQUEST.START, []).success, recorder.output, 40.0)
    system.pause(0.3)
    kept = ask(system, REQUEST.STOP, []).episode_index
    system.observer.until(lambda: ask(system, REQUEST.START, []).success, recorder.output, 40.0)
    for messages in heard.values():
        messages.clear()
    system.observer.until(lambda: all(heard.values()), "messages")
    system.pause(wait)
    out = {topic: int(messages[-1].header.frame_id) for topic, messages in heard.items()}
    recorder.send(signal.SIGKILL)
    recorder.wait()
    return kept, out


def newest(capture: Path) -> dict[str, int]:
    """By topic, the number of the last message in a journal."""
    found: dict[str, int] = {}
    for one in Bag(capture).messages():
        found[one.topic] = int(one.message.header.frame_id)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    generator = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, files = folder / "set", {"config_file": str(contract(folder)), "robot_file": str(robot(folder))}
        exporter = Lock(journal.root_of(dataset), "exporter")
        system = ArmSystem(folder)
        sources = started(system, folder, SIDE, SIDE)
        try:
            heard = {topic: system.observer.hear(kind, topic) for topic, kind in TOPICS.items()}
            runs = [killed_once(system, files, dataset, heard, generator.uniform(0.05, 1.5)) for _ in range(chosen.kills)]
        finally:
            for source in sources:
                source.end(signal.SIGKILL)  # nothing of it is to be kept, and rclpy takes polite signals for itself
            system.close()
            exporter.release()
        journal.salvage(journal.root_of(dataset))
        return judged(journal.root_of(dataset), runs)


def judged(root: Path, runs: list[tuple[int, dict[str, int]]]) -> int:
    """Print what is there of it all."""
    there = {one.number: one for one in journal.journals(root) if one.state == journal.FINISHED}
    whole = {kept: written(there[kept].capture) for kept, _ in runs if kept in there}
    gaps = {kept: {topic: missing(numbers) for topic, (numbers, _) in found.items()} for kept, found in whole.items()}
    torn = {kept: found for kept, found in gaps.items() if any(found.values())}
    lost = [kept for kept, _ in runs if kept not in there]
    behind: dict[str, list[int]] = {topic: [] for topic in TOPICS}
    unsalvaged = 0
    for kept, out in runs:
        begun = there.get(kept + 1)
        unsalvaged += begun is None
        last = newest(begun.capture) if begun else {}
        for topic, number in out.items():
            behind[topic].append(max(0, number - last.get(topic, -1)))
    print(f"{len(runs)} kills: {len(lost)} of {len(runs)} kept episodes lost, {unsalvaged} episodes in progress not salvaged")
    print(f"{len(torn)} kept episodes have messages missing between others: {torn}")
    for topic, counts in behind.items():
        print(f"{topic}: at most {max(counts)} messages missing at the end of an episode in progress, {np.mean(counts):.2f} on average")
    bars = {topic: PICTURES if kind is Image else MESSAGES for topic, kind in TOPICS.items()}
    return int(bool(lost) or bool(torn) or unsalvaged > 0 or any(max(behind[topic]) > bars[topic] for topic in TOPICS))


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"in {time.monotonic() - began:.0f} s")
    sys.exit(status)
