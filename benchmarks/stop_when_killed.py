"""How long the arm moves on after the guard or its commander is killed or stopped in motion.

    ./wm exec python benchmarks/stop_when_killed.py [--count 20]

Each time real nodes are started on a fresh ROS domain, the arm is driven, and one process gets SIGKILL or SIGSTOP, each time at another
moment between two commands. The seconds until rest are told by the stamps of joint states. Bounds: 0.2 s for the guard; for the
commander the guard's output is zero within timeout + v/a + 2 ticks, and the arm at rest within that and its own settling time. Ends with
a status other than 0 when any was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

from arm_system import ArmSystem
from stopping import Stop, kill_commander, kill_guard, settling_time

type Kill = Callable[[ArmSystem, signal.Signals, float], Stop]

POLICY_STEP = 0.1  # s
CASES: dict[str, tuple[Kill, signal.Signals]] = {
    "guard, SIGKILL": (kill_guard, signal.SIGKILL),
    "guard, SIGSTOP": (kill_guard, signal.SIGSTOP),
    "commander, SIGKILL": (kill_commander, signal.SIGKILL),
    "commander, SIGSTOP": (kill_commander, signal.SIGSTOP),
}


def measure(kill: Kill, signum: signal.Signals, delay: float) -> Stop:
    with tempfile.TemporaryDirectory() as folder:
        system = ArmSystem(Path(folder))
        try:
            return kill(system.bring_up(), signum, delay)
        finally:
            system.close()


def report(name: str, stops: list[Stop]) -> None:
    for what, values, bounds in (
        ("output zero", [stop.output for stop in stops], [stop.output_bound for stop in stops]),
        ("arm at rest", [stop.rest for stop in stops], [stop.rest_bound for stop in stops]),
    ):
        kept = sum(value <= bound for value, bound in zip(values, bounds, strict=True))
        spread = f"min {np.min(values):.3f}, median {np.median(values):.3f}, max {np.max(values):.3f} s"
        print(f"{name:20s} {what}: {kept} of {len(stops)} in time; {spread}; bound {np.min(bounds):.3f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="repetitions of each of the four cases")
    count = parser.parse_args().count
    print(f"the embedded arm itself settles within {settling_time():.3f} s of its commands going to zero at once")
    missed = 0
    for name, (kill, signum) in CASES.items():
        stops = [measure(kill, signum, delay) for delay in np.linspace(0.0, POLICY_STEP, count)]
        report(name, stops)
        missed += sum(not stop.kept for stop in stops)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
