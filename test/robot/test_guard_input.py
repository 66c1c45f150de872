"""Protects: nothing invalid, late or stale moves the arm, and the arm stops when its inputs or its solver fail."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from guard_rig import HOME, Rig, make_guard, make_limits
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.robot import solver
from wm_core.robot.guard_config import Workspace
from wm_core.robot.guard_status import Code, Mode, sentence
from wm_core.robot.motion import JOINT_METRIC
from wm_core.robot.verification import violations

GUARD = make_guard()


def moving(rig: Rig) -> Rig:
    """The rig after 0.3 s at 0.2 m/s."""
    rig.drive(60, (0.0, 0.02, 0.0))
    assert np.linalg.norm(rig.results[-1].twist[:3]) > 0.19
    return rig


# --- command age -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "timeout"), [(0.02, 0.10), (0.1, 0.25), (0.15, 0.375), (0.5, 0.5)])
def test_row_command_age_zero_is_reached_in_time_and_published_on(rig: Rig, step: float, timeout: float) -> None:
    """Zero no later than timeout + v/a + 2 ticks after the last command; then zeros, still published."""
    for _ in range(60):
        rig.tick(rig.command((0.0, 0.2 * step, 0.0), step=step))
    last, speed = rig.time, rig.velocity.copy()
    until = timeout + float((np.abs(speed) / rig.guard.limits.acceleration).max()) + 2 * rig.period
    while rig.velocity.any():
        assert rig.time - last <= until + 1e-9
        result = rig.tick()
        if rig.time - last < timeout - 1e-9:
            assert result.code is Code.OK
    assert rig.time - last > timeout
    assert Code.COMMAND_EXPIRED in [result.code for result in rig.results]
    for _ in range(20):
        result = rig.tick()
        assert result.publish
        assert not result.joint_velocity.any()
    assert (result.mode, result.code) == (Mode.ARMED, Code.IDLE)
    assert result.counters.expired == 1


def test_row_command_age_valid_until_ends_it_earlier(rig: Rig) -> None:
    moving(rig)
    rig.tick(rig.command((0.0, 0.02, 0.0), valid_until=rig.time + 0.031))
    for _ in range(4):
        assert rig.tick().code is Code.OK
    codes = [rig.tick().code for _ in range(4)]
    assert Code.COMMAND_EXPIRED in codes


def test_row_command_age_braking_is_at_the_acceleration_limit_and_straight(rig: Rig) -> None:
    moving(rig)
    rig.tick(rig.command((0.0, 0.02, 0.0), valid_until=rig.time + 0.006))
    rig.tick()
    before = rig.velocity
    after = rig.tick().joint_velocity
    share = np.abs(after - before) / (rig.guard.limits.acceleration * rig.period)
    assert share.max() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(after / np.linalg.norm(after), before / np.linalg.norm(before), atol=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"valid_until": -0.001}, {"stamp": -0.3}, {"received": -0.3}],
    ids=["valid_until in the past", "stale stamp", "stale receipt"],
)
def test_row_command_age_a_late_command_is_counted_and_not_obeyed_but_does_not_latch(rig: Rig, change: dict[str, float]) -> None:
    for _ in range(10):
        (name, offset) = next(iter(change.items()))
        result = rig.tick(rig.command((0.02, 0.0, 0.0), **{name: rig.time + offset}))
        assert not result.joint_velocity.any()
        assert "too late" in result.refused
    assert result.counters.late == 10
    assert result.counters.rejected == 0
    assert result.mode is Mode.ARMED


# --- joint state -------------------------------------------------------------------------------------------------------------------


def test_row_joint_state_ages_brake_at_50_ms_and_latch_at_200_ms(rig: Rig) -> None:
    moving(rig)
    rig.joint_states = False
    silent = rig.time
    codes = {}
    while rig.time - silent < 0.25:
        result = rig.tick(rig.command((0.0, 0.02, 0.0)))
        codes[round((rig.time - silent) * 1000)] = result.code
    assert codes[50] is Code.OK
    assert codes[55] is Code.JOINT_STATE_LATE
    assert codes[200] is Code.JOINT_STATE_LATE
    assert codes[205] is Code.JOINT_STATE_STALE
    assert result.mode is Mode.STOPPED
    assert not rig.velocity.any()


def test_row_joint_state_an_old_header_stamp_counts_even_when_it_just_came_in(rig: Rig) -> None:
    moving(rig)
    late = [rig.tick(rig.command((0.0, 0.02, 0.0)), rig.measurement(stamp=rig.time - 0.06)).code for _ in range(2)]
    assert Code.JOINT_STATE_LATE not in late  # the first is older than the one before it, so it is refused and that one still counts
    rig.rest(20)
    rig.joint_states = False
    results = [rig.tick(rig.command(), rig.measurement(stamp=1000.0 + 1e-3 * index + 0.4)) for index in range(60)]
    assert results[-1].code is Code.JOINT_STATE_STALE


NAMES = GUARD.limits.names
BAD_STATES = {
    "missing": lambda rig: {"names": NAMES[:5], "position": rig.q[:5], "velocity": np.zeros(5)},
    "reordered": lambda rig: {"names": NAMES[::-1]},
    "twice": lambda rig: {"names": (*NAMES, NAMES[0]), "position": np.zeros(7), "velocity": np.zeros(7)},
    "NaN position": lambda rig: {"position": np.full(6, np.nan)},
    "inf velocity": lambda rig: {"velocity": np.full(6, np.inf)},
    "1e308": lambda rig: {"position": np.full(6, 1e308)},
    "short position": lambda rig: {"position": np.zeros(5)},
    "no position": lambda rig: {"position": np.zeros(0)},
    "same stamp": lambda rig: {"stamp": rig.state.observed.stamp},
    "earlier stamp": lambda rig: {"stamp": rig.state.observed.stamp - 0.01},
    "NaN stamp": lambda rig: {"stamp": math.nan},
    "future": lambda rig: {"stamp": rig.time + 1.0},
}


@pytest.mark.parametrize("change", BAD_STATES.values(), ids=BAD_STATES.keys())
def test_row_joint_state_a_bad_one_is_rejected_counted_and_ages_the_last_good_one(rig: Rig, change: Any) -> None:
    moving(rig)
    codes: list[Code] = []
    while rig.is_armed():
        assert len(codes) < 45
        state = rig.measurement(**change(rig))
        result = rig.tick(rig.command((0.0, 0.02, 0.0)), state)
        codes.append(result.code)
        assert "Joint state refused" in result.refused
        assert result.counters.rejected == len(codes)
    assert Code.JOINT_STATE_LATE in codes
    assert codes[-1] is Code.JOINT_STATE_STALE


def test_row_joint_state_any_steady_order_will_do_and_extra_joints_are_ignored(rig: Rig) -> None:
    rig.state = rig.state._replace(mode=Mode.DISARMED)
    names, order = (*NAMES[::-1], "finger_joint"), [*range(5, -1, -1)]
    for _ in range(3):
        rig.tick(None, rig.measurement(names=names, position=np.append(rig.q[order], 0.02), velocity=np.zeros(7)))
    assert rig.state.observed.position == rig.q.tolist()
    assert rig.state.counters.rejected == 0


def test_the_same_joint_state_seen_again_is_neither_new_nor_wrong(rig: Rig) -> None:
    state = rig.measurement(stamp=rig.time + 0.001)
    for _ in range(5):
        rig.tick(None, state)
    assert rig.state.counters.rejected == 0


# --- NaN, inf, 1e308, zero length, empty frame ---------------------------------------------------------------------------------------

GARBAGE = st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 1e16])
vectors = st.lists(st.one_of(st.floats(-1, 1), GARBAGE), min_size=3, max_size=3).filter(lambda v: not all(abs(x) <= 1 for x in v))
BAD_COMMAND = st.one_of(
    st.fixed_dictionaries({"translation": vectors.map(np.array)}),
    st.fixed_dictionaries({"rotation": vectors.map(np.array)}),
    st.fixed_dictionaries({"translation": st.sampled_from([np.zeros(0), np.zeros(2), np.zeros((3, 1)), None, ["a", "b", "c"]])}),
    st.fixed_dictionaries({"rotation": st.sampled_from([np.zeros(0), np.zeros(4), np.zeros((1, 3)), None])}),
    st.fixed_dictionaries({"gripper": GARBAGE}),
    st.fixed_dictionaries({"step": st.one_of(GARBAGE, st.sampled_from([0.0, -0.1, 1.001]))}),
    st.fixed_dictionaries({"stamp": st.one_of(GARBAGE, st.just(2000.0), st.just(None))}),
    st.fixed_dictionaries({"valid_until": st.one_of(GARBAGE, st.just("now"))}),
    st.fixed_dictionaries({"received": st.one_of(GARBAGE, st.just(2000.0))}),
    st.fixed_dictionaries({"frame": st.sampled_from(["", "world", "tool", "base", "BASE_LINK"])}),
)


@settings(max_examples=250)
@given(BAD_COMMAND)
def test_row_garbage_in_any_field_is_refused_counted_and_moves_nothing(changes: dict[str, Any]) -> None:
    rig = Rig(GUARD)
    result = rig.tick(dataclasses.replace(rig.command((0.01, 0.0, 0.0)), **changes))
    assert result.refused
    assert result.counters.rejected == 1
    assert result.counters.commands == 0
    assert not result.joint_velocity.any()
    assert result.mode is Mode.ARMED


@settings(max_examples=60)
@given(st.lists(BAD_COMMAND, min_size=3, max_size=3))
def test_row_garbage_three_times_in_a_second_latches(three: list[dict[str, Any]]) -> None:
    rig = Rig(GUARD)
    moving(rig)
    modes = [rig.tick(dataclasses.replace(rig.command(), **changes)).mode for changes in three]
    assert modes == [Mode.ARMED, Mode.ARMED, Mode.STOPPED]
    assert rig.results[-1].code is Code.COMMANDS_INVALID
    rig.rest(200)
    assert not rig.velocity.any()


def test_row_garbage_less_often_than_that_does_not_latch(rig: Rig) -> None:
    for _ in range(12):
        rig.tick(rig.command(frame=""))
        rig.rest(110)
    assert rig.is_armed()
    assert rig.state.counters.rejected == 12


@settings(max_examples=150)
@given(
    st.tuples(*[st.one_of(st.floats(), st.floats(-1e-1, 1e-1))] * 6),
    st.floats(),
    st.one_of(st.floats(), st.floats(0.01, 1.0)),
    st.sampled_from(["base_link", "tool0", ""]),
)
def test_whatever_comes_in_what_goes_out_is_finite_and_inside(values: tuple[float, ...], gripper: float, step: float, frame: str) -> None:
    rig = Rig(GUARD)
    for _ in range(4):
        result = rig.tick(rig.command(values[:3], values[3:], gripper=gripper, step=step, frame=frame))
        assert np.isfinite(result.joint_velocity).all()
        assert np.isfinite(result.twist).all()
        assert result.gripper is None or 0.0 <= result.gripper <= 1.0
        assert 0.0 <= result.scale <= 1.0
        assert (np.abs(np.diff([np.zeros(6), *rig.published], axis=0)) <= GUARD.limits.acceleration * rig.period * (1 + 1e-6)).all()


@pytest.mark.parametrize(("name", "value"), [("valid_until", 2147483648.0), ("stamp", 2147483648.0), ("valid_until", 1e12)])
def test_row_garbage_a_time_that_ros_cannot_hold_is_refused(rig: Rig, name: str, value: float) -> None:
    result = rig.tick(rig.command((0.01, 0.0, 0.0), **{name: value}))
    assert result.refused.startswith(sentence(Code.COMMAND_VALUE)[:-1])
    assert not result.joint_velocity.any()


def test_row_garbage_the_last_second_of_ros_will_do_and_zero_is_long_ago(rig: Rig) -> None:
    assert not rig.tick(rig.command((0.01, 0.0, 0.0), valid_until=2147483647.0)).refused
    result = rig.tick(rig.command((0.01, 0.0, 0.0), valid_until=0.0))
    assert "too late" in result.refused
    assert result.counters.late == 1


@pytest.mark.parametrize(
    ("step", "allowed"), [(0.001, False), (0.0199, False), (0.02, True), (0.019999999, True), (1.0, True), (1.01, False)]
)
def test_row_garbage_a_step_is_neither_too_short_nor_too_long(rig: Rig, step: float, allowed: bool) -> None:
    """A step of 1 ms would be held for 0.1 s, and move a hundred times its delta."""
    result = rig.tick(rig.command((1e-4, 0.0, 0.0), step=step))
    assert (not result.refused) == allowed
    assert allowed or result.refused.startswith(sentence(Code.COMMAND_STEP))
    assert result.counters.commands == int(allowed)


# --- solver ------------------------------------------------------------------------------------------------------------------------


def at_a_wall(make_rig: Any) -> Rig:
    """A rig whose next ticks need the QP: pushing against the floor."""
    rig = make_rig(limits=make_limits(capsules={}, allowed_contacts=()), workspace=Workspace(min_z=0.15))
    rig.drive(40, (0.0, 0.0, -0.02))
    assert "workspace:min_z" in rig.results[-1].active
    return rig  # type: ignore[no-any-return]


LIES = {
    "NaN, optimal": lambda n: (np.full(n, np.nan), 0.0, 1, {}),
    "inf, optimal": lambda n: (np.full(n, np.inf), 0.0, 1, {}),
    "2e9, optimal": lambda n: (np.full(n, 2e9), 0.0, 1, {}),
    "a small step too far, optimal": lambda n: (np.full(n, 0.5), 0.0, 1, {}),
    "wrong size, optimal": lambda n: (np.zeros(2), 0.0, 1, {}),
    "nothing": lambda n: (None, 0.0, 1, {}),
    "iteration limit": lambda n: (np.zeros(n), 0.0, -4, {}),
    "infeasible": lambda n: (np.zeros(n), 0.0, -1, {}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_row_solver_is_never_believed(make_rig: Any, monkeypatch: pytest.MonkeyPatch, lie: Any) -> None:
    rig = at_a_wall(make_rig)
    speed = np.abs(rig.velocity).max()
    monkeypatch.setattr(solver.daqp, "solve", lambda hessian, *rest: lie(len(hessian)))
    for _ in range(30):
        before = rig.velocity
        result = rig.tick(rig.command((0.0, 0.0, -0.02)))
        assert result.code is Code.SOLVER_FAILED
        assert (np.abs(result.joint_velocity - before) <= rig.guard.limits.acceleration * rig.period * (1 + 1e-6)).all()
    assert speed > 0.0
    assert not result.joint_velocity.any()
    assert result.counters.unsolved == 30
    assert rig.tool()[2, 3] > 0.15


@pytest.mark.parametrize("poison", ["hessian", "target", "low", "high", "rows", "floor"])
def test_row_solver_is_not_asked_with_nan(poison: str) -> None:
    """DAQP calls NaN bounds optimal, so it never sees one."""
    problem = {
        "hessian": np.eye(6) + JOINT_METRIC,
        "target": np.ones(6),
        "low": np.full(6, -0.1),
        "high": np.full(6, 0.1),
        "rows": np.ones((1, 6)),
        "floor": np.array([-0.2]),
    }
    answer = solver.closest(**problem)
    np.testing.assert_allclose(answer.velocity, 0.1, atol=1e-6)
    problem[poison] = problem[poison].copy()
    problem[poison].flat[0] = np.nan
    assert solver.closest(**problem).velocity is None
    assert solver.closest_relaxed(**problem).velocity is None


def test_row_solver_slack_is_given_to_the_barriers_alone() -> None:
    problem = (np.eye(6), np.zeros(6), np.full(6, -0.1), np.full(6, 0.1), np.ones((1, 6)), np.array([3.0]))
    refused = solver.closest(*problem)
    assert refused.velocity is None
    assert refused.infeasible
    relaxed = solver.closest_relaxed(*problem)
    assert relaxed.relaxed
    np.testing.assert_allclose(relaxed.velocity, 0.1, atol=1e-6)


def test_the_solution_is_the_projection(make_rig: Any) -> None:
    """Against the closed form for one active row: x = t + H^-1 a (b - a t) / (a H^-1 a)."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        root, a, target = rng.normal(size=(6, 6)), rng.normal(size=6), rng.normal(size=6)
        metric = root @ root.T + np.eye(6)
        floor = a @ target + rng.uniform(0.1, 1.0)
        inverse = np.linalg.inv(metric)
        expected = target + inverse @ a * (floor - a @ target) / (a @ inverse @ a)
        found = solver.closest(metric, target, np.full(6, -1e3), np.full(6, 1e3), a[None], np.array([floor]))
        np.testing.assert_allclose(found.velocity, expected, atol=1e-6)


# --- verification ------------------------------------------------------------------------------------------------------------------


def test_row_verification_finds_each_broken_limit(rig: Rig) -> None:
    moving(rig)
    guard, last = rig.guard, rig.velocity.tolist()
    jacobian = guard.kinematics.jacobian(rig.q)
    rows = guard.barriers.rows(np.array([0.0, 0.0, 0.006]), jacobian[:3])

    def broken(velocity: Any, q: Any = rig.q, before: Any = last) -> list[str]:
        return violations(guard, q.tolist(), before, velocity, jacobian, rows)

    assert broken(rig.velocity) == []
    assert broken(np.full(6, np.nan)) == ["not_finite"]
    assert broken(np.zeros(5)) == ["not_finite"]
    assert broken(None) == ["not_finite"]
    assert "joint_acceleration:wrist_1_joint" in broken(rig.velocity + 0.06 * np.eye(6)[3])
    fast = np.eye(6)[5] * 1.6
    assert "joint_velocity:wrist_3_joint" in broken(fast, before=fast.tolist())
    assert "tool_speed" in broken(fast, before=fast.tolist())
    edge = rig.q.copy()
    edge[0] = guard.joints.upper[0] - 0.001
    turn = np.eye(6)[0] * 0.2
    assert "joint_position:shoulder_pan_joint" in broken(turn, edge, turn.tolist())
    down = np.linalg.solve(jacobian, (0.0, 0.0, -0.02, 0.0, 0.0, 0.0))
    assert "workspace:min_z" in broken(down, before=down.tolist())


def test_row_verification_a_motion_that_breaks_a_limit_is_not_sent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should any step before it go wrong, the verification brakes."""
    moving(rig)
    monkeypatch.setattr("wm_core.robot.motion.shape", lambda velocity, *rest: [speed + 0.2 for speed in velocity])
    monkeypatch.setattr("wm_core.robot.joint_box.JointBox.holds", lambda *arguments: True)
    for _ in range(60):
        before = rig.velocity
        result = rig.tick(rig.command((0.0, 0.02, 0.0)))
        assert result.code is Code.VERIFICATION_FAILED
        assert "joint_acceleration" in result.text
        assert (np.abs(result.joint_velocity) <= np.abs(before) + 1e-12).all()
    assert not result.joint_velocity.any()
    assert result.counters.unverified == 60


def test_every_code_has_its_sentence() -> None:
    for code in Code:
        assert sentence(code).endswith(".")
        assert "(because)" in sentence(code, "because")


def test_home_is_where_the_tests_think_it_is(rig: Rig) -> None:
    np.testing.assert_allclose(rig.guard.kinematics.tool_pose(HOME)[:3, 3], (0.5, 0.0, 0.2), atol=1e-6)
