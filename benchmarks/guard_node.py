"""How punctual the guard's node is at its rate: alone, and while two other processes keep two cores busy.

    ./wm exec python benchmarks/guard_node.py [--seconds 30]

The period is the difference of the stamps of two commands in a row; a tick is late when it comes more than half a period late.
The load is matrix products in torch where it can be imported, else in numpy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

from arm_system import ArmSystem, stamp
from diagnostic_msgs.msg import DiagnosticArray

from wm_ros.msg import DeltaEECommand

PERIOD = 0.005  # s
LOADS = {
    "torch": "import torch\ntorch.set_num_threads(1)\na = torch.rand(700, 700)\nwhile True:\n    a = (a @ a).clamp(0.0, 1.0)",
    "numpy": "import numpy as np\na = np.random.rand(700, 700)\nwhile True:\n    a = np.clip(a @ a, 0.0, 1.0)",
}


@contextmanager
def busy(library: str | None) -> Iterator[None]:
    """Two processes that each keep a core busy, for as long as the context lasts."""
    one_thread = ["env", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"]
    loads = [subprocess.Popen([*one_thread, sys.executable, "-c", LOADS[library]]) for _ in range(2)] if library else []
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def measure(seconds: float, library: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        system = ArmSystem(Path(folder))
        try:
            sent: list[DeltaEECommand] = system.observer.hear(DeltaEECommand, "arm/delta_command")
            diagnostics: list[DiagnosticArray] = system.observer.hear(DiagnosticArray, "/diagnostics")
            system.bring_up("sim_arm", "safety_guard")
            system.arm()
            with busy(library):
                direction = iter(np.tile([0.005] * 20 + [-0.005] * 20, 1000))
                feed = system.observer.sender(DeltaEECommand, "delta_command")
                system.observer.repeat(0.1, lambda: feed(system.delta((0.0, float(next(direction)), 0.0))))
                system.await_motion(faster_than=0.02)
                del sent[:]
                begin = system.observer.now()
                system.observer.until(lambda: sent and stamp(sent[-1]) > begin + seconds, "the guard goes on", within=4.0 * seconds)
            report(f"two cores busy with {library}" if library else "alone", np.diff([stamp(message) for message in sent]))
            values = {s.name: {pair.key: pair.value for pair in s.values} for message in diagnostics for s in message.status}
            loop = values["/safety_guard: loop"]
            print(f"    executor: {loop['executor']}; scheduling: {loop['scheduling']}; state at the end: {system.statuses[-1].code}")
        finally:
            system.close()


def report(name: str, periods: np.ndarray) -> None:
    p50, p99 = np.percentile(periods, (50, 99)) * 1e3
    late = int((periods > 1.5 * PERIOD).sum())
    print(f"{name}: period p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {periods.max() * 1e3:.2f} ms")
    print(f"    {late} of {len(periods)} ticks late ({100.0 * late / len(periods):.2f} %)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement")
    seconds = parser.parse_args().seconds
    measure(seconds, None)
    measure(seconds, "torch" if find_spec("torch") else "numpy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
