"""The arithmetic of one tick: from the twist that is asked for to the joint velocities that may be published.

Order: scale (tool speed, singularity, collision, joint velocity) -> aim (limits ahead) -> shape (acceleration, jerk) -> QP -> verify.

Priority: joint position, velocity and acceleration are never given up and never contradict each other (`joint_box`). Walls and
keep-out spheres come next: the QP keeps them, or relaxes them alone and says so. Jerk comes last: `aim` looks far enough ahead that it
is seldom in the way, and a tick that has to exceed it for one of the others, or brakes, names `jerk` among its active limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.robot import solver
from wm_core.robot.guard_model import Guard
from wm_core.robot.guard_status import Code
from wm_core.robot.joint_box import JointBox
from wm_core.robot.kinematics import Posture
from wm_core.robot.rotation import Array
from wm_core.robot.shaping import brake, shape
from wm_core.robot.singularity import approach_share, condition_number, joint_velocity
from wm_core.robot.verification import violations

ROTATION_LENGTH = 0.3  # metres of translation error that weigh as much as one radian
JOINT_WEIGHT = 1e-3  # weight of joint motion (per rad/s) beside the tool's (per m/s) in the QP
LOOKAHEAD = 1e-3  # rad, the step that tells whether a motion approaches or leaves
ANTICIPATION = 0.7  # share of the barrier gain that is aimed for, so that acceleration and jerk can follow
NEGLIGIBLE = 1e-9

TASK_WEIGHT = np.diag([1.0, 1.0, 1.0, ROTATION_LENGTH**2, ROTATION_LENGTH**2, ROTATION_LENGTH**2])


@dataclass(frozen=True)
class Motion:
    """Joint velocity (6,) rad/s and tool twist (6,) m/s, rad/s in base that may be published, and what cut them."""

    velocity: Array
    twist: Array
    code: Code
    active: tuple[str, ...]
    relaxed: bool = False
    solver_failed: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Place:
    """Where a tick starts: the commanded state and what was computed for it."""

    q: Array
    velocity: Array
    acceleration: Array
    posture: Posture
    jacobian: Array
    box: JointBox
    rows: Array
    floor: Array


def locate(guard: Guard, q: Array, velocity: Array, acceleration: Array, posture: Posture) -> Place:
    """Everything a tick needs to know at joint positions `q`, last published `velocity` and its `acceleration` (6,) each."""
    jacobian = posture.jacobian()
    rows, floor = guard.barriers.rows(posture.tool[:3, 3], jacobian[:3])
    box = guard.joints.reachable(q.tolist(), velocity.tolist())
    return Place(q, velocity, acceleration, posture, jacobian, box, rows, floor)


def move(guard: Guard, place: Place, asked: Array) -> Motion:
    """The motion nearest to the twist `asked` (6,) in base, m/s and rad/s, within every limit."""
    target, code, active = _target(guard, place, asked)
    aimed = _aim(guard, place, target, active)
    joints = guard.joints
    now = place.velocity.tolist()
    shaped = shape(now, place.acceleration.tolist(), aimed.tolist(), joints.acceleration, joints.jerk, joints.period)
    if max(abs(a - b) for a, b in zip(shaped, aimed.tolist(), strict=True)) > NEGLIGIBLE:
        active.append("acceleration")
    motion = _settle(guard, place, np.array(shaped), active)
    return motion if motion.code is not Code.OK else _named(motion, code, active)


def halt(guard: Guard, place: Place, code: Code, detail: str = "") -> Motion:
    """The motion of a tick that brakes at the acceleration limit; `code` says why."""
    slower = np.array(brake(place.velocity.tolist(), guard.joints.acceleration, guard.joints.period))
    motion = _settle(guard, place, slower, ["braking"])
    return Motion(motion.velocity, motion.twist, code, motion.active, motion.relaxed, motion.solver_failed, detail)


def limited_twist(twist: Array, linear: float, angular: float) -> Array:
    """`twist` (6,) scaled as a whole until its linear and angular parts are within the limits, m/s and rad/s."""
    forward, turn = float(np.sqrt(twist[:3] @ twist[:3])), float(np.sqrt(twist[3:] @ twist[3:]))
    share = min(1.0, linear / forward if forward > linear else 1.0, angular / turn if turn > angular else 1.0)
    return twist if share == 1.0 else twist * share


def _target(guard: Guard, place: Place, asked: Array) -> tuple[Array, Code, list[str]]:
    """The joint velocity that scaling alone leaves of `asked`, and what cut it."""
    config = guard.config
    active: list[str] = []
    code = Code.OK
    twist = limited_twist(asked, config.tool_speed.linear, config.tool_speed.angular)
    if twist is not asked:
        active.append("tool_speed")
    condition = condition_number(place.jacobian)
    wanted = joint_velocity(place.jacobian, twist, condition, config.singularity.slow)
    ahead = _ahead(guard, place, wanted)
    share = 1.0
    if condition > config.singularity.slow and ahead is not None and condition_number(ahead.jacobian()) > condition:
        share = approach_share(condition, config.singularity.slow, config.singularity.halt)
        active.append("singularity")
        code = Code.SINGULARITY_SLOW if share > 0.0 else Code.SINGULARITY_HALT
    near, name = _collision_share(guard, place, ahead)
    if near < 1.0:
        active.append(name)
        code = Code.COLLISION_SLOW if near > 0.0 else Code.COLLISION_STOP
        share = min(share, near)
    return _within_joint_speed(guard, wanted * share, active), code, active


def _ahead(guard: Guard, place: Place, wanted: Array) -> Posture | None:
    """The posture a small step along `wanted` from here, or None when there is no motion."""
    size = float(np.abs(wanted).max())
    return None if size < NEGLIGIBLE else guard.kinematics.posture(place.q + wanted * (LOOKAHEAD / size))


def _collision_share(guard: Guard, place: Place, ahead: Posture | None) -> tuple[float, str]:
    """The share of speed that the nearest clearance leaves to a motion that makes it smaller, and the name of that clearance."""
    limits = guard.config.collision
    if ahead is None or not guard.collision.names:
        return 1.0, ""
    clearance = guard.collision.clearances(place.posture)
    if clearance.min() >= limits.slow:
        return 1.0, ""
    width = max(limits.slow - limits.stop, NEGLIGIBLE)
    shares = np.clip((clearance - limits.stop) / width, 0.0, 1.0)
    shares[guard.collision.clearances(ahead) >= clearance] = 1.0
    index = int(shares.argmin())
    return float(shares[index]), guard.collision.names[index]


def _within_joint_speed(guard: Guard, wanted: Array, active: list[str]) -> Array:
    share = 1.0
    for name, speed, limit in zip(guard.limits.names, wanted.tolist(), guard.joints.velocity, strict=True):
        if abs(speed) > limit:
            active.append(f"joint_velocity:{name}")
            share = min(share, limit / abs(speed))
    return wanted * share if share < 1.0 else wanted


def _aim(guard: Guard, place: Place, target: Array, active: list[str]) -> Array:
    """The nearest velocity to `target` from which every limit ahead can be kept within acceleration and jerk."""
    box = guard.joints.advisable(place.q.tolist())
    floor = ANTICIPATION * place.floor
    for name, speed, low, high in zip(guard.limits.names, target.tolist(), box.low, box.high, strict=True):
        if not low - NEGLIGIBLE <= speed <= high + NEGLIGIBLE:
            active.append(f"joint_position:{name}")
    below = place.rows @ target < floor - NEGLIGIBLE
    active += [name for name, cut in zip(guard.barriers.names, below, strict=True) if cut]
    answer = solver.closest(_metric(place.jacobian), target, np.array(box.low), np.array(box.high), place.rows, floor)
    return np.zeros(6) if answer.velocity is None else answer.velocity


def _settle(guard: Guard, place: Place, wanted: Array, active: list[str]) -> Motion:
    """`wanted` through the QP and the verification; braking when either fails."""
    low, high = np.array(place.box.low), np.array(place.box.high)
    metric = _metric(place.jacobian)
    answer = solver.closest(metric, _trimmed(guard, place, wanted), low, high, place.rows, place.floor)
    if answer.velocity is None and answer.infeasible:
        answer = solver.closest_relaxed(metric, wanted, low, high, place.rows, place.floor)
    if answer.velocity is None:
        return _emergency(guard, place, Code.SOLVER_FAILED, "", answer.relaxed)
    velocity = _trimmed(guard, place, answer.velocity)
    kept = slice(0, 0) if answer.relaxed else slice(None)
    broken = violations(guard, place.q, place.velocity, velocity, place.jacobian, place.rows[kept], place.floor[kept])
    if broken:
        return _emergency(guard, place, Code.VERIFICATION_FAILED, ", ".join(broken), answer.relaxed)
    if _jerky(guard, place, velocity):
        active.append("jerk")
    code = Code.BARRIER_RELAXED if answer.relaxed else Code.OK
    return Motion(velocity, place.jacobian @ velocity, code, tuple(active), relaxed=answer.relaxed)


def _emergency(guard: Guard, place: Place, code: Code, detail: str, relaxed: bool) -> Motion:
    """Braking without a solver: uniformly at the acceleration limit, within the joint box."""
    velocity = np.array(place.box.clip(brake(place.velocity.tolist(), guard.joints.acceleration, guard.joints.period)))
    failed = code is Code.SOLVER_FAILED
    return Motion(velocity, place.jacobian @ velocity, code, ("braking",), relaxed, failed, detail)


def _trimmed(guard: Guard, place: Place, velocity: Array) -> Array:
    """`velocity` scaled until the tool is within its speed: the Jacobian turns a little from tick to tick."""
    limits = guard.config.tool_speed
    twist = place.jacobian @ velocity
    forward, turn = float(np.sqrt(twist[:3] @ twist[:3])), float(np.sqrt(twist[3:] @ twist[3:]))
    if forward <= limits.linear and turn <= limits.angular:
        return velocity
    return velocity * min(limits.linear / max(forward, limits.linear), limits.angular / max(turn, limits.angular))


def _jerky(guard: Guard, place: Place, velocity: Array) -> bool:
    period = guard.joints.period
    change = (velocity - place.velocity) / period - place.acceleration
    return bool((np.abs(change) > guard.limits.jerk * period * (1.0 + 1e-6) + 1e-9).any())


def _metric(jacobian: Array) -> Array:
    metric: Array = jacobian.T @ TASK_WEIGHT @ jacobian
    metric[range(6), range(6)] += JOINT_WEIGHT
    return metric


def _named(motion: Motion, code: Code, active: list[str]) -> Motion:
    """`motion` under the most telling code: a named one, LIMITED when something cut it, else OK."""
    cut = [name for name in active if name not in ("acceleration", "jerk")]
    final = code if code is not Code.OK else (Code.LIMITED if cut else Code.OK)
    return Motion(motion.velocity, motion.twist, final, motion.active, motion.relaxed, motion.solver_failed, motion.detail)
