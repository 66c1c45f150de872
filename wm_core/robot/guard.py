"""The safety guard: one pure step per tick, and the state machine around it.

    DISARMED --arm--> ARMED --latch or stop--> STOPPED --arm--> ARMED,  ARMED or STOPPED, at rest --disarm--> DISARMED

A tick validates what came in, latches if it must, and otherwise moves the arm as `motion` allows. Positions are integrated from what
was published: a velocity for as long as it was in force, a delta once. The measurement only watches.
"""

from __future__ import annotations

import numpy as np

from wm_core.robot.arming import age_of, past_limit, refusal
from wm_core.robot.command import DeltaCommand, Measurement, Now
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.guard_model import Guard
from wm_core.robot.guard_model import tighten as _tighten
from wm_core.robot.guard_state import STILL, ArmReply, Counters, Executed, GuardResult, GuardState, Hold, Observed, Wiring
from wm_core.robot.guard_status import Code, Mode, sentence
from wm_core.robot.motion import Motion, Place, halt, locate, move
from wm_core.robot.rotation import Array, pose_error
from wm_core.robot.validation import check_command, check_measurement, command_timeout

__all__ = [
    "ArmReply",
    "Counters",
    "Executed",
    "Guard",
    "GuardResult",
    "GuardState",
    "Wiring",
    "arm",
    "disarm",
    "initial_state",
    "step",
    "stop",
    "tighten",
]

LATE_TICK = 1.5  # periods after the last tick from which a tick counts as an overrun
REJECT_WINDOW = 1.0  # seconds in which invalid commands add up


def initial_state(guard: Guard) -> GuardState:
    """DISARMED and at rest; nothing is known of the arm."""
    return GuardState()


def step(
    guard: Guard, state: GuardState, command: DeltaCommand | None, measurement: Measurement | None, now: Now
) -> tuple[GuardState, GuardResult]:
    """One tick: `command` when a new one came since the last tick, `measurement` the newest joint state, `now` this tick's time."""
    was_moving = bool(state.velocity.any())
    state = _advance(guard, state, now)
    state = _observe(guard, state, measurement, now)
    state, accepted = _receive(guard, state, command, now)
    state = _watch(guard, state, now)
    if state.mode is not Mode.ARMED and not state.velocity.any():
        return _at_rest(guard, state, now, publish=was_moving or state.mode is Mode.STOPPED)
    posture = guard.kinematics.posture(state.q)
    state, executed = _change_hold(guard, state, accepted, posture.tool, now)
    place = locate(guard, state.q, state.velocity, state.acceleration, posture, state.clearance)
    asked = _asked(state.hold, posture.tool)
    motion = _motion(guard, state, place, asked, now)
    return _finish(guard, state, place, motion, asked, executed)


def arm(guard: Guard, state: GuardState, measurement: Measurement | None, now: Now, wiring: Wiring) -> tuple[GuardState, ArmReply]:
    """Arm from DISARMED or STOPPED, or say which precondition fails; the commanded position starts at the measured one."""
    if state.mode is Mode.ARMED:
        return state, ArmReply(True, Code.ARMED, sentence(Code.ARMED, "it was already"))
    if _went_backwards(state, now):
        state = _forget_times(state, now)
    state = _observe(guard, state, measurement, now)
    refused = refusal(guard, state, now, wiring)
    if refused or state.observed is None:
        code, detail = refused or (Code.REFUSED_NO_JOINT_STATE, "")
        return state, ArmReply(False, code, sentence(code, detail))
    armed = state._replace(
        mode=Mode.ARMED,
        code=Code.IDLE,
        detail="",
        q=np.array(state.observed.position),
        velocity=STILL,
        acceleration=STILL,
        hold=None,
        steady=now.steady,
        ros=now.ros,
        armed_at=now.steady,
        rejected_at=(),
        tracking_since=None,
        relaxed_run=0,
    )
    return armed, ArmReply(True, Code.ARMED, sentence(Code.ARMED))


def disarm(guard: Guard, state: GuardState, now: Now) -> tuple[GuardState, ArmReply]:
    """Disarm an arm at rest; one that moves goes on as it was, and the reply says so."""
    if state.velocity.any():
        return state, ArmReply(False, Code.STILL_MOVING, sentence(Code.STILL_MOVING))
    return state._replace(mode=Mode.DISARMED, code=Code.DISARMED, detail=""), ArmReply(True, Code.DISARMED, sentence(Code.DISARMED))


def stop(guard: Guard, state: GuardState, code: Code, text: str, now: Now) -> GuardState:
    """Latch STOPPED for `code`, with `text` as its detail; the next ticks brake and then publish zeros."""
    return _latch(state, code, text)


def commanded(state: GuardState) -> Array | None:
    """Joint positions (6,) rad that the arm was told; while DISARMED or STOPPED, those that were measured, None before the first."""
    if state.mode is Mode.ARMED:
        return state.q
    return None if state.observed is None else np.array(state.observed.position)


def tighten(guard: Guard, config: GuardConfig, state: GuardState) -> Guard:
    """The guard with another configuration; unless DISARMED, loosening any limit raises ConfigurationError."""
    return _tighten(guard, config, state.mode)


def _latch(state: GuardState, code: Code, detail: str) -> GuardState:
    first = state.mode is not Mode.STOPPED
    counters = state.counters._replace(latched=state.counters.latched + 1) if first else state.counters
    return state._replace(mode=Mode.STOPPED, code=code, detail=detail, counters=counters) if first else state


def _advance(guard: Guard, state: GuardState, now: Now) -> GuardState:
    """Time passes: the last velocity was in force until now, or until the arm stopped by itself; a delta was carried out once."""
    counters, period = state.counters, guard.config.period
    if state.steady is None or state.ros is None:
        return state._replace(steady=now.steady, ros=now.ros, refused="")
    elapsed = now.steady - state.steady
    if elapsed > LATE_TICK * period:
        counters = counters._replace(overruns=counters.overruns + 1)
    held = period if guard.output_is_delta else min(max(elapsed, 0.0), guard.config.output_timeout)
    backwards = _went_backwards(state, now)
    state = state._replace(q=state.q + state.velocity * held, steady=now.steady, ros=now.ros, refused="", counters=counters)
    if elapsed >= guard.config.output_timeout and state.velocity.any():
        state = state._replace(velocity=STILL, acceleration=STILL)
        if state.mode is Mode.ARMED:
            state = _latch(state, Code.TICK_STALLED, f"{elapsed:.3f} s between two ticks")
    if backwards:
        state = _forget_times(state, now)
        if state.mode is Mode.ARMED:
            state = state._replace(mode=Mode.DISARMED, code=Code.CLOCK_BACKWARDS, detail="")
    return state


def _went_backwards(state: GuardState, now: Now) -> bool:
    return (state.steady is not None and now.steady < state.steady) or (state.ros is not None and now.ros < state.ros)


def _forget_times(state: GuardState, now: Now) -> GuardState:
    """Without everything that was timed by a clock that has gone back; input that was heard counts as heard just now."""
    heard = state.moved_input is not None or state.rejected_at
    moved_input = now.steady if heard else None
    return state._replace(observed=None, seen=None, hold=None, moved_input=moved_input, rejected_at=(), tracking_since=None, armed_at=None)


def _observe(guard: Guard, state: GuardState, measurement: Measurement | None, now: Now) -> GuardState:
    if measurement is None or measurement is state.seen:
        return state
    # While not armed a driver may be restarted, and then sends another order or starts its clock anew.
    before = state.observed
    if before is not None and state.mode is not Mode.ARMED and (before.names != measurement.names or measurement.stamp < before.stamp):
        before = None
    checked = check_measurement(guard, measurement, before, now)
    if isinstance(checked, Observed):
        return state._replace(observed=checked, seen=measurement)
    counters = state.counters._replace(rejected=state.counters.rejected + 1)
    return state._replace(seen=measurement, refused=sentence(*checked), counters=counters)


def _receive(guard: Guard, state: GuardState, command: DeltaCommand | None, now: Now) -> tuple[GuardState, DeltaCommand | None]:
    """The command if it may be obeyed; garbage is counted and latches when it comes too often."""
    if command is None:
        return state, None
    counters = state.counters
    fault = check_command(guard, command, now)
    if fault is None and state.mode is Mode.ARMED and state.armed_at is not None and command.received <= state.armed_at:
        fault = Code.COMMAND_STALE, "it came before the guard was armed"
    well_formed = fault is None or fault[0] is Code.COMMAND_STALE
    if well_formed and (np.any(command.translation) or np.any(command.rotation)):
        state = state._replace(moved_input=now.steady)
    if fault is None:
        return state._replace(counters=counters._replace(commands=counters.commands + 1)), command
    code, detail = fault
    state = state._replace(refused=sentence(code, detail))
    if code is Code.COMMAND_STALE:
        return state._replace(counters=counters._replace(late=counters.late + 1)), None
    recent = (*(time for time in state.rejected_at if now.steady - time < REJECT_WINDOW), now.steady)
    state = state._replace(counters=counters._replace(rejected=counters.rejected + 1), rejected_at=recent)
    if state.mode is Mode.ARMED and len(recent) >= guard.config.command.rejects:
        state = _latch(state, Code.COMMANDS_INVALID, f"the last one: {sentence(code, detail)}")
    return state, None


def _watch(guard: Guard, state: GuardState, now: Now) -> GuardState:
    """Everything that stops an armed arm for good."""
    observed = state.observed
    if state.mode is not Mode.ARMED:
        return state
    if observed is None or age_of(observed, now) > guard.config.joint_state.latch:
        return _latch(state, Code.JOINT_STATE_STALE, "none" if observed is None else f"{age_of(observed, now):.3f} s old")
    past = past_limit(guard, observed)
    if past:
        return _latch(state, Code.PAST_LIMIT, past)
    if state.relaxed_run >= guard.config.barrier.relaxed_ticks:
        return _latch(state, Code.BARRIER_STUCK, f"{state.relaxed_run} ticks")
    error = [abs(measured - commanded) for measured, commanded in zip(observed.position, state.q.tolist(), strict=True)]
    largest = max(error)
    if largest <= guard.config.tracking.error:
        return state if state.tracking_since is None else state._replace(tracking_since=None)
    since = now.steady if state.tracking_since is None else state.tracking_since
    if now.steady - since >= guard.config.tracking.duration:
        joint = guard.limits.names[error.index(largest)]
        return _latch(state, Code.TRACKING_ERROR, f"{joint} is {largest:.3f} rad away for {now.steady - since:.3f} s")
    return state._replace(tracking_since=since)


def _change_hold(
    guard: Guard, state: GuardState, command: DeltaCommand | None, tool: Array, now: Now
) -> tuple[GuardState, Executed | None]:
    """Take up an accepted command, let an expired one go, and report the step that ended; `tool` is the commanded pose (4, 4)."""
    hold = state.hold
    obeying = state.mode is Mode.ARMED
    expired = hold is not None and (now.steady >= hold.until_steady or now.ros >= hold.command.valid_until)
    if command is None and not expired and obeying:
        return state, None
    executed = None if hold is None else _executed(hold, tool, state.gripper, now)
    fresh = _hold(guard, command, tool, now) if command is not None and obeying else None
    ran_out = int(expired and fresh is None)
    counters = state.counters._replace(expired=state.counters.expired + ran_out) if ran_out else state.counters
    return state._replace(hold=fresh, counters=counters), executed


def _hold(guard: Guard, command: DeltaCommand, tool: Array, now: Now) -> Hold:
    delta = np.concatenate((np.asarray(command.translation, dtype=float), np.asarray(command.rotation, dtype=float)))
    until = min(command.received, now.steady) + command_timeout(guard.config.command, command.step)
    return Hold(command, delta / command.step, command.frame == guard.tool_frame, until, now.ros, tool)


def _executed(hold: Hold, tool: Array, gripper: float | None, now: Now) -> Executed:
    requested = _in_base(hold.twist * hold.command.step, hold.start) if hold.in_tool_frame else hold.twist * hold.command.step
    executed = pose_error(tool, hold.start)
    return Executed(
        command=hold.command,
        plan_id=hold.command.plan_id,
        step_index=hold.command.step_index,
        requested=requested,
        executed=executed,
        gripper=gripper,
        began=hold.began,
        duration=now.ros - hold.began,
        scale=_share(executed, requested),
    )


def _asked(hold: Hold | None, tool: Array) -> Array:
    """The twist (6,) in base that the command in force asks for."""
    if hold is None:
        return STILL
    return _in_base(hold.twist, tool) if hold.in_tool_frame else hold.twist


def _in_base(twist: Array, tool: Array) -> Array:
    rotation = tool[:3, :3]
    return np.concatenate((rotation @ twist[:3], rotation @ twist[3:]))


def _motion(guard: Guard, state: GuardState, place: Place, asked: Array, now: Now) -> Motion:
    if state.mode is not Mode.ARMED:
        return halt(guard, place, state.code, state.detail)
    if state.observed is None or age_of(state.observed, now) > guard.config.joint_state.brake:
        return halt(guard, place, Code.JOINT_STATE_LATE)
    if state.hold is None:
        moving = bool(state.velocity.any())
        return halt(guard, place, Code.COMMAND_EXPIRED if moving else Code.IDLE)
    return move(guard, place, asked)


def _at_rest(guard: Guard, state: GuardState, now: Now, publish: bool) -> tuple[GuardState, GuardResult]:
    """A tick in which nothing may move: zeros, and a report of the step that was cut off."""
    executed = None
    if state.hold is not None:
        executed = _executed(state.hold, guard.kinematics.tool_pose(state.q), state.gripper, now)
        state = state._replace(hold=None)
    counters = state.counters._replace(ticks=state.counters.ticks + 1)
    state = state._replace(velocity=STILL, acceleration=STILL, counters=counters)
    return state, _result(state, STILL, STILL, publish, state.code, state.detail, 0.0, (), executed)


def _finish(
    guard: Guard, state: GuardState, place: Place, motion: Motion, asked: Array, executed: Executed | None
) -> tuple[GuardState, GuardResult]:
    counters = state.counters
    counters = counters._replace(
        ticks=counters.ticks + 1,
        limited=counters.limited + bool(motion.active),
        relaxed=counters.relaxed + motion.relaxed,
        unsolved=counters.unsolved + motion.solver_failed,
        unverified=counters.unverified + (motion.code is Code.VERIFICATION_FAILED),
    )
    period = guard.config.period
    latched = state.mode is not Mode.ARMED
    state = state._replace(
        code=state.code if latched else motion.code,
        detail=state.detail if latched else motion.detail,
        velocity=motion.velocity,
        acceleration=(motion.velocity - state.velocity) / period,
        gripper=_gripper(state, guard.config.gripper.speed * period),
        clearance=place.clearance,
        relaxed_run=state.relaxed_run + 1 if motion.relaxed else 0,
        counters=counters,
    )
    scale = 0.0 if latched else _share(motion.twist, asked)
    result = _result(state, motion.velocity, motion.twist, True, state.code, state.detail, scale, motion.active, executed)
    return state, result._replace(delta=_delta(guard, place, motion.velocity)) if guard.output_is_delta else result


def _delta(guard: Guard, place: Place, velocity: Array) -> Array:
    """The tool's displacement (6,) in base within one period: exact, where twist * period is a first-order guess that adds up."""
    if not velocity.any():
        return STILL
    return pose_error(guard.kinematics.tool_pose(place.q + velocity * guard.config.period), place.posture.tool)


def _gripper(state: GuardState, step_size: float) -> float | None:
    """The opening of the next tick: toward the command's, 0 .. 1, by at most `step_size`."""
    if state.hold is None or state.mode is not Mode.ARMED or state.hold.command.gripper < 0.0:
        return state.gripper
    wanted = min(max(float(state.hold.command.gripper), 0.0), 1.0)
    if state.gripper is None:
        return wanted
    return state.gripper + min(max(wanted - state.gripper, -step_size), step_size)


def _share(done: Array, asked: Array) -> float:
    """How much of `asked` (6,) is in `done` (6,), along its direction: 0 none .. 1 all; 1 when nothing was asked."""
    goal = asked.tolist()
    size = max(map(abs, goal))
    if size == 0.0:
        return 1.0
    direction = [part / size for part in goal]
    along = sum(part * way for part, way in zip(done.tolist(), direction, strict=True))
    return min(max(along / sum(way * way for way in direction) / size, 0.0), 1.0)


def _result(
    state: GuardState,
    velocity: Array,
    twist: Array,
    publish: bool,
    code: Code,
    detail: str,
    scale: float,
    active: tuple[str, ...],
    executed: Executed | None,
) -> GuardResult:
    text = sentence(code, detail or ", ".join(active))
    return GuardResult(
        velocity, twist, state.gripper, publish, state.mode, code, text, scale, active, state.refused, state.counters, executed
    )
