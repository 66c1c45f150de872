"""Protects the guard as a node: who may command, what garbage does, how it stops and is armed, and what it reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_system import CALM, GUARD, REACH, ArmSystem, stamp
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

from wm_ros.conversions import array, joint_positions
from wm_ros.msg import DeltaEECommand, ExecutedDelta, SafetyStatus

# A delta is the tool's exact displacement within a tick, which differs from its speed times the period by the curvature of its path.
CURVATURE = 1e-4


def is_stopped(status: SafetyStatus) -> bool:
    return bool(status.state == SafetyStatus.STOPPED)


def test_nothing_is_armed_by_being_started_and_nothing_moves(system: ArmSystem) -> None:
    assert {status.state for status in system.statuses} == {SafetyStatus.DISARMED}
    before = system.positions()
    stop = system.feed((0.0, 0.02, 0.0))
    refused = system.observer.trigger(f"{REACH}/trace")
    assert not refused.success
    assert "not ARMED" in refused.message
    system.observer.until(lambda: system.statuses[-1].commands >= 5, "the guard hears the commands")
    stop()
    assert system.statuses[-1].state == SafetyStatus.DISARMED
    np.testing.assert_allclose(system.positions(), before, atol=1e-3)


def test_arming_is_refused_while_commands_ask_for_motion(system: ArmSystem) -> None:
    stop = system.feed((0.0, 0.02, 0.0))
    system.await_message(system.statuses, "a status")
    system.observer.until(lambda: "commands ask for motion" in system.observer.trigger(f"{GUARD}/arm").message, "the refusal")
    stop()
    assert system.statuses[-1].state == SafetyStatus.DISARMED


def test_each_step_is_reported_as_it_was_executed(armed: ArmSystem) -> None:
    """A slow command that nothing cuts is carried out as it was asked, and a fast one is reported as it was cut."""
    executed = armed.observer.hear(ExecutedDelta, "safety_guard/executed")
    commands = armed.observer.sender(DeltaEECommand, "delta_command")
    steps = iter(range(1000))
    armed.observer.repeat(0.1, lambda: commands(armed.delta((0.0, 0.005, 0.0), plan_id="slow", step_index=next(steps))))
    armed.observer.until(lambda: len([e for e in executed if e.requested.plan_id == "slow"]) >= 8, "eight steps")
    settled = [e for e in executed if e.requested.plan_id == "slow"][3:8]
    assert [e.requested.step_index for e in settled] == list(range(settled[0].requested.step_index, settled[0].requested.step_index + 5))
    for step in settled:
        duration = step.duration.sec + step.duration.nanosec * 1e-9
        np.testing.assert_allclose(array(step.translation) / duration, (0.0, 0.05, 0.0), atol=0.005)
    distance = sum(array(e.translation)[1] for e in executed)
    armed.observer.until(lambda: armed.tool()[1, 3] > 0.5 * distance, "the arm follows")


def test_where_the_arm_was_told_to_be_is_published(armed: ArmSystem) -> None:
    """Exactly what was sent, with the opening once one was asked for; what is measured while the guard is not armed."""
    told = armed.observer.hear(JointState, f"{GUARD}/commanded")
    executed = armed.observer.hear(ExecutedDelta, "safety_guard/executed")
    start = armed.kinematics.tool_pose(joint_positions(armed.await_message(told, "armed"), armed.kinematics.names))
    stop = armed.feed((0.0, 0.005, 0.0), gripper=0.5)
    armed.observer.until(lambda: len(executed) >= 10, "ten steps")
    stop()
    armed.await_rest()
    armed.await_status(lambda status: status.code == "IDLE", "no step is under way")
    last = armed.await_message(told, "the state at rest")
    assert last.position[list(last.name).index("gripper")] == pytest.approx(0.5, abs=0.01)
    moved = armed.kinematics.tool_pose(joint_positions(last, armed.kinematics.names))[:3, 3] - start[:3, 3]
    # The way of braking after the last command belongs to no step.
    np.testing.assert_allclose(moved, np.sum([array(e.translation) for e in executed], axis=0), atol=1e-3)
    assert np.linalg.norm(moved) > 0.02
    assert armed.observer.trigger(f"{GUARD}/disarm").success
    armed.await_status(lambda status: status.state == SafetyStatus.DISARMED, "DISARMED")
    measured = joint_positions(armed.await_message(told, "disarmed"), armed.kinematics.names)
    np.testing.assert_allclose(measured, armed.positions(), atol=1e-3)


@pytest.mark.parametrize("way", ["service", "topic"])
def test_an_emergency_stop_latches_and_only_arm_leaves_it(armed: ArmSystem, way: str) -> None:
    stop = armed.feed((0.0, 0.01, 0.0))
    armed.await_motion()
    if way == "service":
        assert armed.observer.trigger(f"{GUARD}/estop").success
    else:
        armed.observer.sender(Bool, "estop")(Bool(data=False))
        send = armed.observer.sender(Bool, "estop")
        armed.observer.repeat(0.05, lambda: send(Bool(data=True)))
    status = armed.await_status(is_stopped, "STOPPED")
    assert status.code == "ESTOP"
    armed.await_rest()
    armed.await_status(is_stopped, "still STOPPED although commands go on")
    stop()
    if way == "topic":
        armed.observer.silence()
        send(Bool(data=False))


def test_garbage_moves_nothing_is_counted_and_three_in_a_second_latch(armed: ArmSystem) -> None:
    before, rejected = armed.positions(), armed.statuses[-1].rejected
    send = armed.observer.sender(DeltaEECommand, "delta_command")
    garbage = [
        armed.delta((math.nan, 0.0, 0.0)),
        armed.delta((0.0, 0.0, math.inf)),
        armed.delta((0.0, 1e308, 0.0)),
        armed.delta((0.0, 0.01, 0.0), frame="map"),
        armed.delta((0.0, 0.01, 0.0), step=-1.0),
    ]
    turn = iter(garbage * 100)
    armed.observer.repeat(0.05, lambda: send(next(turn)))
    status = armed.await_status(is_stopped, "STOPPED")
    assert status.code == "COMMANDS_INVALID"
    assert status.rejected >= rejected + 3
    np.testing.assert_allclose(armed.positions(), before, atol=1e-3)


def test_a_command_of_1e12_metres_moves_the_arm_no_faster_than_the_limit(armed: ArmSystem) -> None:
    sent = armed.observer.hear(DeltaEECommand, "arm/delta_command")
    stop = armed.feed((0.0, 1e12, 0.0))
    armed.await_status(lambda status: "tool_speed" in status.active_limits, "the limit is named")
    armed.await_motion()
    stop()
    period = 0.005
    speeds = [float(np.linalg.norm(array(message.translation))) / period for message in sent]
    assert 0.05 < max(speeds) <= 0.25 * (1.0 + CURVATURE)
    assert all(np.isfinite(array(message.rotation)).all() for message in sent)


def test_a_stale_command_is_ignored_and_does_not_latch(armed: ArmSystem) -> None:
    before = armed.positions()
    send = armed.observer.sender(DeltaEECommand, "delta_command")
    ticks = armed.statuses[-1].ticks

    def old() -> None:
        now = armed.observer.now()
        send(armed.delta((0.0, 0.02, 0.0), stamp=now - 1.0, valid_until=now - 0.5))

    armed.observer.repeat(0.02, old)
    armed.observer.until(lambda: armed.statuses[-1].ticks > ticks + 200, "a second of ticks")
    assert armed.statuses[-1].state == SafetyStatus.ARMED
    np.testing.assert_allclose(armed.positions(), before, atol=1e-3)


def test_a_second_publisher_on_the_arm_s_topic_stops_everything(new_system: object) -> None:
    system: ArmSystem = new_system().bring_up("sim_arm", "safety_guard", **CALM)  # type: ignore[operator]
    system.arm()
    send = system.observer.sender(DeltaEECommand, "arm/delta_command")
    status = system.await_status(is_stopped, "STOPPED")
    assert status.code == "SECOND_PUBLISHER"
    assert "arm/delta_command" in status.text
    before = system.positions()
    system.observer.repeat(0.02, lambda: send(system.delta((0.0, 0.02, 0.0))))
    diagnostics = system.observer.hear(DiagnosticArray, "/diagnostics")

    def complaint() -> str:
        return " ".join(s.message for message in diagnostics for s in message.status if s.name == "/sim_arm: commands")

    system.observer.until(lambda: "2 publishers" in complaint(), "the arm says so on /diagnostics")
    # Each process hears of the other publisher in its own time; until the arm has, it may have begun to obey.
    np.testing.assert_allclose(system.positions(), before, atol=0.1)
    system.await_rest()
    before, heard = system.positions(), len(diagnostics)
    system.observer.until(lambda: len(diagnostics) >= heard + 6, "two seconds in which commands go on")
    np.testing.assert_allclose(system.positions(), before, atol=1e-3)
    answer = system.observer.trigger(f"{GUARD}/arm")
    assert not answer.success
    assert "somebody else publishes" in answer.message


def test_limits_change_while_armed_only_to_tighter_ones(armed: ArmSystem) -> None:
    assert armed.observer.set_parameter(GUARD, "tool_speed.linear", 0.1) == (True, "")
    taken, reason = armed.observer.set_parameter(GUARD, "tool_speed.linear", 0.2)
    assert not taken
    assert "tighten" in reason
    taken, reason = armed.observer.set_parameter(GUARD, "rate", 100.0)
    assert not taken
    assert "cannot change while the node is configured" in reason
    sent = armed.observer.hear(DeltaEECommand, "arm/delta_command")
    stop = armed.feed((0.0, 0.03, 0.0))
    armed.await_motion()
    armed.await_status(lambda status: "tool_speed" in status.active_limits, "the tighter limit cuts")
    stop()
    assert max(float(np.linalg.norm(array(message.translation))) / 0.005 for message in sent) <= 0.1 * (1.0 + CURVATURE)


def test_diagnostics_say_rate_age_and_overruns(system: ArmSystem) -> None:
    diagnostics = system.observer.hear(DiagnosticArray, "/diagnostics")

    def found() -> dict[str, dict[str, str]]:
        return {s.name: {pair.key: pair.value for pair in s.values} for message in diagnostics for s in message.status}

    wanted = {
        "/safety_guard: loop": {"period", "overruns", "longest", "executor", "scheduling"},
        "/safety_guard: joint states": {"rate", "age"},
        "/safety_guard: commands": {"rate", "age"},
        "/sim_arm: loop": {"period", "overruns", "behind"},
        "/sim_arm: commands": {"rate", "age", "refused"},
        "/reach_pose: lifecycle": set(),
    }
    system.observer.until(lambda: set(wanted) <= set(found()), f"every part reports; heard {sorted(found())}")
    for name, keys in wanted.items():
        assert keys <= set(found()[name]), name
    system.observer.until(lambda: 50.0 < float(found()["/safety_guard: joint states"]["rate"]) < 150.0, "a plausible rate")
    assert found()["/safety_guard: loop"]["executor"].startswith("events")


def test_statuses_come_at_20_hz_by_their_stamps(system: ArmSystem) -> None:
    seen = len(system.statuses)
    system.observer.until(lambda: len(system.statuses) >= seen + 40, "forty statuses")
    gaps = np.diff([stamp(status) for status in system.statuses[seen : seen + 40]])
    assert 0.03 < float(np.median(gaps)) < 0.08


def test_arming_is_refused_while_the_estop_topic_says_true(armed: ArmSystem) -> None:
    press = armed.observer.sender(Bool, "estop")
    armed.observer.until(lambda: press(Bool(data=True)) or is_stopped(armed.statuses[-1]), "STOPPED")
    refused = armed.observer.trigger(f"{GUARD}/arm")
    assert not refused.success
    assert "emergency stop" in refused.message.lower()
    press(Bool(data=False))
    armed.arm()


def test_disarming_is_for_an_arm_at_rest(armed: ArmSystem) -> None:
    assert armed.observer.trigger(f"{GUARD}/disarm").success
    armed.await_status(lambda status: status.state == SafetyStatus.DISARMED, "DISARMED")
    armed.arm()
    stop = armed.feed((0.0, 0.01, 0.0))
    armed.await_motion()
    assert not armed.observer.trigger(f"{GUARD}/disarm").success
    stop()


def test_joint_states_of_somebody_else_s_joints_are_not_the_arm_s(armed: ArmSystem) -> None:
    rejected, ticks = armed.statuses[-1].rejected, armed.statuses[-1].ticks
    send = armed.observer.sender(JointState, "joint_states")
    armed.observer.repeat(0.005, lambda: send(JointState(name=["gripper"], position=[0.0], velocity=[0.0])))
    armed.observer.until(lambda: armed.statuses[-1].ticks > ticks + 400, "two seconds of ticks")
    assert armed.statuses[-1].state == SafetyStatus.ARMED
    assert armed.statuses[-1].rejected == rejected


def test_a_refused_command_is_named_in_the_status(armed: ArmSystem) -> None:
    send = armed.observer.sender(DeltaEECommand, "delta_command")
    armed.observer.repeat(1.0, lambda: send(armed.delta((0.0, 0.01, 0.0), frame="map")))
    status = armed.await_status(lambda status: status.refused, "a refusal in the status")
    assert "map" in status.refused


def test_a_stranger_on_another_command_topic_of_the_arm_stops_it_too(new_system: object) -> None:
    system: ArmSystem = new_system().bring_up("sim_arm", "safety_guard", **CALM)  # type: ignore[operator]
    system.arm()
    before = system.positions()
    send = system.observer.sender(Float64MultiArray, "arm/joint_velocity")
    system.observer.repeat(0.02, lambda: send(Float64MultiArray(data=[0.3, 0.0, 0.0, 0.0, 0.0, 0.0])))
    system.observer.until(lambda: "/observer" in system.processes["sim_arm"].output(), "the arm refuses, naming the stranger")
    seen = len(system.joint_states)
    system.observer.until(lambda: len(system.joint_states) > seen + 100, "a second of joint states")
    np.testing.assert_allclose(system.positions(), before, atol=0.03)
