"""What must hold before the arm may be armed; every refusal has its own code."""

from __future__ import annotations

from wm_core.robot.command import Now
from wm_core.robot.guard_model import Guard
from wm_core.robot.guard_state import GuardState, Observed, Wiring
from wm_core.robot.guard_status import Code

type Refusal = tuple[Code, str]


def age_of(observed: Observed, now: Now) -> float:
    """Seconds since the joint state was received or stamped, whichever is longer ago."""
    return max(now.steady - observed.received, now.ros - observed.stamp)


def past_limit(guard: Guard, observed: Observed) -> str:
    """Names the joints measured past their hard limit by more than is tolerated; empty when there are none."""
    tolerance = guard.config.joints.past_limit
    if all(
        low - tolerance <= position <= high + tolerance for position, low, high in zip(observed.position, *guard.hard_range, strict=True)
    ):
        return ""
    rows = zip(guard.limits.names, observed.position, *guard.hard_range, strict=True)
    past = {name: max(low - position, position - high) for name, position, low, high in rows}
    return ", ".join(f"{name} by {beyond:.4f} rad" for name, beyond in past.items() if beyond > tolerance)


def refusal(guard: Guard, state: GuardState, now: Now, wiring: Wiring) -> Refusal | None:
    """Why `state` may not be armed now, or None."""
    if wiring.estop:
        return Code.REFUSED_ESTOP, ""
    return _of_the_arm(guard, state, now) or _of_the_input(guard, state, now) or _of_the_wiring(wiring)


def _of_the_arm(guard: Guard, state: GuardState, now: Now) -> Refusal | None:
    observed = state.observed
    if observed is None:
        return Code.REFUSED_NO_JOINT_STATE, ""
    age, allowed = age_of(observed, now), guard.config.joint_state.brake
    if age > allowed:
        return Code.REFUSED_STALE_JOINT_STATE, f"{age:.3f} s old, allowed {allowed} s"
    if state.velocity.any():
        return Code.REFUSED_MOVING, "still braking"
    if observed.speed is None:
        return Code.REFUSED_MOVING, "joint states carry no velocity and only one came in"
    if observed.speed >= guard.config.arming.speed:
        return Code.REFUSED_MOVING, f"{observed.speed:.4f} rad/s, allowed below {guard.config.arming.speed} rad/s"
    past = past_limit(guard, observed)
    return (Code.REFUSED_OUTSIDE_LIMITS, past) if past else None


def _of_the_input(guard: Guard, state: GuardState, now: Now) -> Refusal | None:
    last = max((*state.rejected_at[-1:], *([] if state.moved_input is None else [state.moved_input])), default=None)
    quiet = guard.config.arming.quiet
    if last is not None and now.steady - last < quiet:
        return Code.REFUSED_INPUT_ACTIVE, f"a command {now.steady - last:.2f} s ago, allowed after {quiet} s"
    return None


def _of_the_wiring(wiring: Wiring) -> Refusal | None:
    if wiring.listeners < 1:
        return Code.REFUSED_NO_LISTENER, ""
    if wiring.other_publishers > 0:
        return Code.REFUSED_OTHER_PUBLISHER, f"{wiring.other_publishers} found"
    return None
