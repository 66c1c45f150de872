"""The arithmetic of one tick: from the twist that is asked for to the joint velocities that may be published.

Order: scale (tool speed, singularity, collision, joint velocity) -> aim (limits ahead) -> shape (acceleration, jerk) -> QP -> verify.

Priority: joint position, velocity and acceleration are never given up and never contradict each other (`joint_box`). Walls and
keep-out spheres come next: the QP keeps them, or relaxes them alone and says so. Jerk comes last: `aim` looks far enough ahead that it
is seldom in the way, and a tick that has to exceed it for one of the others, or brakes, names `jerk` among its active limits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wm_core.robot import solver
from wm_core.robot.barrier import AIM, NO_ROWS, Rows
from wm_core.robot.collision import Clearance
from wm_core.robot.guard_model import Guard
from wm_core.robot.guard_status import Code
from wm_core.robot.joint_box import JointBox
from wm_core.robot.kinematics import Posture
from wm_core.robot.rotation import Array
from wm_core.robot.shaping import brake, shape
from wm_core.robot.singularity import approach_share, condition_number, joint_velocity
from wm_core.robot.verification import tool_speeds, violations

Floats = list[float]

ROTATION_LENGTH = 0.3  # metres of translation error that weigh as much as one radian
JOINT_WEIGHT = 1e-3  # weight of joint motion (per rad/s) beside the tool's (per m/s) in the QP
LOOKAHEAD = 1e-3  # rad, the step that tells whether a motion approaches or leaves
NEGLIGIBLE = 1e-9
NOTICEABLE = 1e-3  # rad/s short of the target that are reported
SMOOTHING = ("acceleration", "jerk")  # limits that only ease a motion in and out

TASK_WEIGHT = np.array([1.0, 1.0, 1.0, ROTATION_LENGTH**2, ROTATION_LENGTH**2, ROTATION_LENGTH**2])[:, None]
JOINT_METRIC = JOINT_WEIGHT * np.eye(6)


class Motion(NamedTuple):
    """Joint velocity (6,) rad/s and tool twist (6,) m/s, rad/s in base that may be published, and what cut them."""

    velocity: Array
    twist: Array
    code: Code
    active: tuple[str, ...]
    relaxed: bool = False
    solver_failed: bool = False
    detail: str = ""


class Place(NamedTuple):
    """Where a tick starts: the commanded state and what was computed for it."""

    q: Array
    position: Floats  # q
    velocity: Floats
    acceleration: Floats
    posture: Posture
    clearance: Clearance
    jacobian: Array
    box: JointBox
    rows: Rows


def locate(guard: Guard, q: Array, velocity: Array, acceleration: Array, posture: Posture, before: Clearance | None) -> Place:
    """Everything a tick needs to know at joint positions `q`, last published `velocity` and its `acceleration` (6,) each."""
    position, speed = q.tolist(), velocity.tolist()
    jacobian = posture.jacobian()
    rows = guard.barriers.rows(posture.tool[:3, 3], jacobian[:3])
    clearance = guard.collision.look(before, q, posture, guard.config.collision.slow)
    box = guard.joints.reachable(position, speed)
    return Place(q, position, speed, acceleration.tolist(), posture, clearance, jacobian, box, rows)


def move(guard: Guard, place: Place, asked: Array) -> Motion:
    """The motion nearest to the twist `asked` (6,) in base, m/s and rad/s, within every limit."""
    target, code, active = _target(guard, place, asked)
    aimed = _aim(guard, place, target, active)
    if aimed is None:
        return _emergency(guard, place, Code.SOLVER_FAILED, "", relaxed=False)
    joints, goal = guard.joints, aimed.tolist()
    shaped = shape(place.velocity, place.acceleration, goal, joints.acceleration, joints.jerk, joints.period)
    if max(abs(a - b) for a, b in zip(shaped, goal, strict=True)) > NOTICEABLE:
        active.append("acceleration")
    motion = _settle(guard, place, shaped, active)
    return motion if motion.code is not Code.OK else _named(motion, code, active)


def halt(guard: Guard, place: Place, code: Code, detail: str = "") -> Motion:
    """The motion of a tick that brakes at the acceleration limit; `code` says why."""
    slower = brake(place.velocity, guard.joints.acceleration, guard.joints.period)
    motion = _settle(guard, place, slower, ["braking"] if any(place.velocity) else [])
    return motion._replace(code=code, detail=detail)


def speed_share(twist: Array, linear: float, angular: float) -> float:
    """The factor (at most 1) that brings a `twist` (6,) within `linear` m/s and `angular` rad/s."""
    forward, turn = tool_speeds(twist)
    return min(1.0, linear / forward if forward > linear else 1.0, angular / turn if turn > angular else 1.0)


def _target(guard: Guard, place: Place, asked: Array) -> tuple[Array, Code, list[str]]:
    """The joint velocity that scaling alone leaves of `asked`, and what cut it."""
    config = guard.config
    active: list[str] = []
    share = speed_share(asked, config.tool_speed.linear, config.tool_speed.angular)
    if share < 1.0:
        active.append("tool_speed")
    wanted, condition = joint_velocity(place.jacobian, asked * share, config.singularity.slow)
    wanted, code = _cautious(guard, place, wanted, condition, active)
    return _within_joint_speed(guard, wanted, active), code, active


def _cautious(guard: Guard, place: Place, wanted: Array, condition: float, active: list[str]) -> tuple[Array, Code]:
    """`wanted` slowed where it approaches a singularity or brings shapes nearer together; moving away is free."""
    singular, close = guard.config.singularity, guard.config.collision
    crowded = place.clearance.nearest < close.slow
    if not (condition > singular.slow or crowded):
        return wanted, Code.OK
    size = float(np.abs(wanted).max())
    if size < NEGLIGIBLE:
        return wanted, Code.OK
    ahead = guard.kinematics.posture(place.q + wanted * (LOOKAHEAD / size))
    share, code = 1.0, Code.OK
    if condition > singular.slow and condition_number(ahead.jacobian()) > condition:
        share = approach_share(condition, singular.slow, singular.halt)
        active.append("singularity")
        code = Code.SINGULARITY_SLOW if share > 0.0 else Code.SINGULARITY_HALT
    if crowded:
        clearance = place.clearance.values
        shares = np.clip((clearance - close.stop) / max(close.slow - close.stop, NEGLIGIBLE), 0.0, 1.0)
        shares[guard.collision.clearances(ahead) >= clearance] = 1.0
        index = int(shares.argmin())
        if shares[index] < 1.0:
            active.append(guard.collision.names[index])
            code = Code.COLLISION_SLOW if shares[index] > 0.0 else Code.COLLISION_STOP
            share = min(share, float(shares[index]))
    return wanted * share if share < 1.0 else wanted, code


def _within_joint_speed(guard: Guard, wanted: Array, active: list[str]) -> Array:
    share = 1.0
    for name, speed, limit in zip(guard.limits.names, wanted.tolist(), guard.joints.velocity, strict=True):
        if abs(speed) > limit:
            active.append(f"joint_velocity:{name}")
            share = min(share, limit / abs(speed))
    return wanted * share if share < 1.0 else wanted


def _aim(guard: Guard, place: Place, target: Array, active: list[str]) -> Array | None:
    """The nearest velocity to `target` from which every limit ahead can be kept within acceleration and jerk; None: not solved."""
    box = guard.joints.advisable(place.position)
    wanted = target.tolist()
    cut = place.rows.cut(target, AIM, NEGLIGIBLE)
    if not box.holds(wanted, NEGLIGIBLE):
        rows = zip(guard.limits.names, wanted, box.low, box.high, strict=True)
        cut += tuple(f"joint_position:{name}" for name, speed, low, high in rows if not low - NEGLIGIBLE <= speed <= high + NEGLIGIBLE)
    if not cut:
        return target
    active += cut
    low, high = np.array(box.low), np.array(box.high)
    return solver.closest(_metric(place.jacobian), target, low, high, place.rows.matrix, AIM * place.rows.floor).velocity


def _settle(guard: Guard, place: Place, shaped: Floats, active: list[str]) -> Motion:
    """`shaped` through the QP and the verification; braking when either fails."""
    wanted = _trimmed(guard, place, np.array(shaped))
    answer = solver.Answer(wanted)
    if not place.box.holds(wanted.tolist()) or place.rows.cut(wanted):
        answer = _solve(place, wanted)
        if answer.velocity is None:
            return _emergency(guard, place, Code.SOLVER_FAILED, "", answer.relaxed)
        answer = answer._replace(velocity=_trimmed(guard, place, answer.velocity))
    velocity = answer.velocity
    kept = NO_ROWS if answer.relaxed else place.rows
    broken = violations(guard, place.position, place.velocity, velocity, place.jacobian, kept)
    if velocity is None or broken:
        return _emergency(guard, place, Code.VERIFICATION_FAILED, ", ".join(broken), answer.relaxed)
    if _jerky(guard, place, velocity.tolist()):
        active.append("jerk")
    code = Code.BARRIER_RELAXED if answer.relaxed else Code.OK
    return Motion(velocity, place.jacobian @ velocity, code, tuple(active), relaxed=answer.relaxed)


def _solve(place: Place, wanted: Array) -> solver.Answer:
    """The QP, once more with slack on the barriers alone when it has no solution."""
    low, high, metric = np.array(place.box.low), np.array(place.box.high), _metric(place.jacobian)
    answer = solver.closest(metric, wanted, low, high, place.rows.matrix, place.rows.floor)
    if answer.velocity is None and answer.infeasible:
        return solver.closest_relaxed(metric, wanted, low, high, place.rows.matrix, place.rows.floor)
    return answer


def _emergency(guard: Guard, place: Place, code: Code, detail: str, relaxed: bool) -> Motion:
    """Braking without a solver: uniformly at the acceleration limit, within the joint box."""
    velocity = np.array(place.box.clip(brake(place.velocity, guard.joints.acceleration, guard.joints.period)))
    failed = code is Code.SOLVER_FAILED
    return Motion(velocity, place.jacobian @ velocity, code, ("braking",), relaxed, failed, detail)


def _trimmed(guard: Guard, place: Place, velocity: Array) -> Array:
    """`velocity` scaled until the tool is within its speed: the Jacobian turns a little from tick to tick."""
    limits = guard.config.tool_speed
    share = speed_share(place.jacobian @ velocity, limits.linear, limits.angular)
    return velocity * share if share < 1.0 else velocity


def _jerky(guard: Guard, place: Place, velocity: Floats) -> bool:
    period = guard.joints.period
    rows = zip(velocity, place.velocity, place.acceleration, guard.joints.jerk, strict=True)
    return any(abs((new - old) / period - change) > jerk * period * (1.0 + 1e-6) + 1e-9 for new, old, change, jerk in rows)


def _metric(jacobian: Array) -> Array:
    """The weight of an error in joint velocity: J^T W J + w I, (6, 6)."""
    return jacobian.T @ (TASK_WEIGHT * jacobian) + JOINT_METRIC


def _named(motion: Motion, code: Code, active: list[str]) -> Motion:
    """`motion` under the most telling code: a named one, LIMITED when something cut it, else OK."""
    cut = [name for name in active if name not in SMOOTHING]
    final = code if code is not Code.OK else (Code.LIMITED if cut else Code.OK)
    return motion._replace(code=final)
