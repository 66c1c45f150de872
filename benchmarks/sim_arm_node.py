"""What the embedded arm's node costs in real time: commands at 200 Hz, joint states at 100 Hz, one 96x96 camera at 10 Hz, all listened to.

    ./wm exec python benchmarks/sim_arm_node.py [--seconds 20]

The CPU share is the processor time that the kernel counted for the process. Ends with a status other than 0 when it is more than half a
core, or when joint states or pictures came more than 2 % too seldom by their stamps.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

from arm_system import ArmSystem, stamp
from sensor_msgs.msg import Image

from wm_ros.msg import DeltaEECommand

COMMAND_PERIOD, SPEED, TURNS = 0.005, 0.1, 2.0  # s, m/s, rad/s along a circle
LARGEST_SHARE = 0.5
WANTED = {"joint states": 100.0, "pictures": 10.0}


def processor_time(pid: int) -> float:
    """Seconds of processor time that the process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(system: ArmSystem) -> list[Image]:
    """Command a circle from now on; returns the list that the pictures go to."""
    pictures: list[Image] = system.observer.hear(Image, "camera/front/image_raw")
    send = system.observer.sender(DeltaEECommand, "arm/delta_command")

    def command() -> None:
        phase = TURNS * system.observer.now()
        send(system.delta(COMMAND_PERIOD * SPEED * np.array([np.cos(phase), np.sin(phase), 0.0]), step=COMMAND_PERIOD))

    system.observer.repeat(COMMAND_PERIOD, command)
    system.await_motion()
    system.observer.until(lambda: pictures, "the first picture")
    return pictures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measurement")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        system = ArmSystem(Path(folder))
        try:
            process = system.start("sim_arm")
            system.observer.until(lambda: system.joint_states, "the arm starts")
            pictures = drive(system)
            del pictures[:], system.joint_states[:]
            begin, used = system.observer.now(), processor_time(process.pid)
            system.observer.until(lambda: system.observer.now() > begin + seconds, "time passes", within=2.0 * seconds)
            share = (processor_time(process.pid) - used) / (system.observer.now() - begin)
            heard = {"joint states": list(system.joint_states), "pictures": list(pictures)}
        finally:
            system.close()
    print(f"sim_arm uses {100 * share:.1f} % of one core (at most {100 * LARGEST_SHARE:.0f} %)")
    good = share <= LARGEST_SHARE
    for name, messages in heard.items():
        gaps = np.diff([stamp(message) for message in messages])
        rate = len(gaps) / gaps.sum()
        good &= rate > 0.98 * WANTED[name]
        print(f"{name}: {rate:.1f} Hz (wanted {WANTED[name]:.0f}), longest gap {1e3 * gaps.max():.1f} ms")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
