"""Speed of the safety guard's step, and its limits under hostile commands and random twists.

    python benchmarks/guard_step.py [--seed 0] [--ticks 4000] [--hostile 60000] [--twists 100000]

Prints microseconds; ends with a status other than 0 when any published velocity broke a limit.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from wm_core import configuration
from wm_core.robot import guard as guards
from wm_core.robot import solver
from wm_core.robot.barrier import NO_ROWS
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard_config import GuardConfig, Workspace
from wm_core.robot.guard_status import Mode
from wm_core.robot.robot_config import read_robot
from wm_core.robot.rotation import Array
from wm_core.simulation import arm as embedded

CONFIG = Path(__file__).parent.parent / "config"
WIRING = guards.Wiring(listeners=1, other_publishers=0)
PAST_MARGIN = 1e-4  # rad
FIELDS = ("translation", "rotation", "gripper", "step", "stamp", "valid_until")


class Rig:
    """A guard, an arm that follows it perfectly, and a monitor that checks what is published with its own arithmetic."""

    def __init__(self, guard: guards.Guard, q: Array) -> None:
        self.guard, self.now = guard, 1000.0
        self.period = guard.config.period
        self.kinematics = guard.kinematics
        self.largest_speed = guard.limits.velocity * guard.config.joints.velocity_fraction
        margin = guard.config.joints.position_margin
        self.lower, self.upper = guard.limits.lower + margin, guard.limits.upper - margin
        self.faults: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.rearmed = self.jerks = self.unnamed_jerks = 0
        self.past_margin = -math.inf
        self.spent: list[float] = []
        self.place(q)

    def place(self, q: Array) -> None:
        self.state = guards.initial_state(self.guard)
        self.q, self.velocity = q.copy(), np.zeros(6)
        self._arm()

    def _arm(self) -> None:
        self.now += 1.0
        measured = Measurement(self.guard.limits.names, self.q.copy(), np.zeros(6), self.now, self.now)
        self.state, reply = guards.arm(self.guard, self.state, measured, Now(self.now, self.now), WIRING)
        if not reply.accepted:
            raise SystemExit(f"the guard could not be armed: {reply.text}")
        self.acceleration = np.zeros(6)

    def tick(self, command: DeltaCommand | None) -> guards.GuardResult:
        self.now += self.period
        self.q = self.q + self.velocity * self.period
        measured = Measurement(self.guard.limits.names, self.q, self.velocity, self.now, self.now)
        now = Now(self.now, self.now)
        before = time.perf_counter()
        self.state, result = guards.step(self.guard, self.state, command, measured, now)
        self.spent.append(time.perf_counter() - before)
        self.codes[str(result.code)] += 1
        self._check(result)
        if result.mode is Mode.STOPPED and not self.velocity.any():
            self.rearmed += 1
            self._arm()
        return result

    def command(self, translation: Array, rotation: Array, **changes: object) -> DeltaCommand:
        plain = DeltaCommand("base_link", translation, rotation, 0.5, 0.1, self.now, self.now + 1.0, self.now, "benchmark", 0)
        return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]

    def _check(self, result: guards.GuardResult) -> None:
        velocity, limits = result.joint_velocity, self.guard.limits
        if velocity.shape != (6,) or not np.isfinite(velocity).all() or not np.isfinite(result.twist).all():
            self.faults["not finite"] += 1
            raise SystemExit("a published velocity is not finite")
        change = velocity - self.velocity
        step = limits.acceleration * self.period
        if (np.abs(change) > step * (1.0 + 1e-6) + 1e-12).any():
            self.faults["acceleration"] += 1
        if (np.abs(velocity) > self.largest_speed * (1.0 + 1e-6)).any():
            self.faults["velocity"] += 1
        after = self.q + velocity * self.period
        self.past_margin = max(self.past_margin, float(np.maximum(self.lower - after, after - self.upper).max()))
        if self.past_margin > PAST_MARGIN:
            self.faults["position"] += 1
        twist = self.kinematics.jacobian(self.q) @ velocity
        speed = self.guard.config.tool_speed
        if np.linalg.norm(twist[:3]) > speed.linear + 1e-6 or np.linalg.norm(twist[3:]) > speed.angular + 1e-6:
            self.faults["tool speed"] += 1
        jerk = np.abs(change / self.period - self.acceleration) > limits.jerk * self.period * (1.0 + 1e-6) + 1e-9
        if jerk.any() and (velocity.any() or self.velocity.any()):
            self.jerks += 1
            self.unnamed_jerks += "jerk" not in result.active and "braking" not in result.active
        self.velocity, self.acceleration = velocity, change / self.period


def build(config: GuardConfig, **limit_changes: object) -> guards.Guard:
    robot = read_robot(CONFIG / "ur5e.yaml", embedded.urdf())
    return guards.Guard(config, dataclasses.replace(robot.limits, **limit_changes), robot.kinematics)  # type: ignore[arg-type]


def measure_speed(rig: Rig, rng: np.random.Generator, ticks: int) -> None:
    """Smooth random motion, commands at 10 Hz, a joint state every tick."""
    for index in range(ticks):
        command = None
        if index % 20 == 0:
            # A pull back to the home pose keeps the arm where it would work.
            home = 0.2 * (rig.kinematics.tool_pose(np.array(embedded.HOME))[:3, 3] - rig.kinematics.tool_pose(rig.q)[:3, 3])
            command = rig.command(rng.normal(0.0, 0.008, 3) + home, rng.normal(0.0, 0.01, 3))
        rig.tick(command)
    report("guard step, commands at 10 Hz", np.array(rig.spent))


def measure_parts(guard: guards.Guard, ticks: int) -> None:
    q, spent = np.array(embedded.HOME), np.empty(ticks)
    target, low, high = np.full(6, 0.3), np.full(6, -0.2), np.full(6, 0.2)
    for index in range(ticks):
        before = time.perf_counter()
        jacobian = guard.kinematics.posture(q).jacobian()
        metric = jacobian.T @ jacobian + 1e-3 * np.eye(6)
        solver.closest(metric, target, low, high, NO_ROWS.matrix, NO_ROWS.floor)
        spent[index] = time.perf_counter() - before
    report("kinematics + Jacobian + QP alone", spent)


def report(name: str, seconds: Array) -> None:
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e6
    print(f"{name:36s} p50 {p50:7.1f} us   p99 {p99:7.1f} us   ({len(seconds)} times)")


def hostile_command(rig: Rig, rng: np.random.Generator, heading: Array) -> DeltaCommand:
    """A third NaN or inf somewhere, a sixth 1e12, the rest valid-looking around a `heading` (6,)."""
    step = float(rng.choice([0.05, 0.1, 0.2]))
    frame = str(rng.choice(["base_link", "tool0"], p=[0.9, 0.1]))
    delta = heading + rng.normal(0.0, 1.0, 6) * (0.005, 0.005, 0.005, 0.02, 0.02, 0.02)
    command = rig.command(delta[:3], delta[3:], step=step, frame=frame, gripper=float(rng.uniform(-1, 2)))
    kind = rng.random()
    if kind < 1 / 3:
        name, poison = str(rng.choice(FIELDS)), float(rng.choice([math.nan, math.inf, -math.inf]))
        value = getattr(command, name)
        if isinstance(value, np.ndarray):
            value = value.copy()
            value[rng.integers(3)] = poison
        else:
            value = poison
        return dataclasses.replace(command, **{name: value})
    if kind < 1 / 2:
        return dataclasses.replace(command, translation=1e12 * command.translation, rotation=1e12 * command.rotation)
    return command


def run_hostile(config: GuardConfig, rng: np.random.Generator, count: int) -> Rig:
    """Hostile commands, one per tick; a heading kept for 400 ticks drives the arm into walls, singularities and itself."""
    rig = Rig(build(config), np.array(embedded.HOME))
    heading = np.zeros(6)
    for index in range(count):
        if index % 400 == 0:
            heading = rng.normal(0.0, 1.0, 6) * (0.02, 0.02, 0.02, 0.03, 0.03, 0.03)
        rig.tick(hostile_command(rig, rng, heading))
    return rig


def run_twists(config: GuardConfig, rng: np.random.Generator, count: int) -> Rig:
    """Random twists from random postures near the joint limits, each in force for 1 to 9 ticks; only joint and tool limits are on."""
    bold = dataclasses.replace(
        config,
        tool_speed=dataclasses.replace(config.tool_speed, linear=2.0, angular=6.0),
        joints=dataclasses.replace(config.joints, velocity_fraction=1.0),
        singularity=dataclasses.replace(config.singularity, slow=1e5, halt=1e6),
        workspace=Workspace(),
    )
    rig = Rig(build(bold, capsules={}, table_height=None), np.array(embedded.HOME))
    for index in range(count):
        if index % 50 == 0:
            q = rng.uniform(rig.lower, rig.upper)
            near = rng.random(6) < 0.5
            gap = rng.uniform(0.0, 0.3, 6)
            rig.place(np.where(near, np.where(rng.random(6) < 0.5, rig.lower + gap, rig.upper - gap), q))
        if index % 5 == 0:
            direction = rng.normal(size=6)
        twist = direction + 0.3 * rng.normal(size=6)
        rig.tick(rig.command(twist[:3], twist[3:]))
        for _ in range(int(rng.integers(0, 9))):
            rig.tick(None)
    return rig


def summary(name: str, rig: Rig) -> bool:
    counters = rig.state.counters
    print(f"{name}: {sum(rig.codes.values())} ticks, faults {dict(rig.faults) or 'none'}, armed again {rig.rearmed} times")
    print(f"    codes {dict(rig.codes.most_common())}")
    print(f"    nearest to the margin {rig.past_margin * 1e3:+.6f} mrad")
    print(f"    jerk beyond its limit in {rig.jerks} ticks, of which unnamed {rig.unnamed_jerks}")
    print(f"    solver failures {counters.unsolved}, verification refusals {counters.unverified} (since last placed)")
    return not rig.faults and not rig.unnamed_jerks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=0, help="of the random commands")
    parser.add_argument("--ticks", type=int, default=4000, help="ticks that are timed")
    parser.add_argument("--hostile", type=int, default=60_000, help="hostile commands")
    parser.add_argument("--twists", type=int, default=100_000, help="random twists")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    config = configuration.read(GuardConfig, CONFIG / "safety_guard.yaml")
    # A box wide enough for the arm to come at its own limits, at singularities and at itself.
    wide = Workspace(min_x=-0.9, max_x=0.9, min_y=-0.9, max_y=0.9, min_z=0.0, max_z=1.1)
    patient = dataclasses.replace(config, command=dataclasses.replace(config.command, rejects=1000), workspace=wide)
    rig = Rig(build(config), np.array(embedded.HOME))
    measure_speed(rig, rng, arguments.ticks)
    print(f"    codes {dict(rig.codes.most_common())}")
    measure_parts(rig.guard, arguments.ticks)
    good = [
        summary(f"{arguments.hostile} hostile commands", run_hostile(config, rng, arguments.hostile)),
        summary(f"{arguments.hostile} more in a wide box at a guard that they do not stop", run_hostile(patient, rng, arguments.hostile)),
        summary(f"{arguments.twists} random twists", run_twists(config, rng, arguments.twists)),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
