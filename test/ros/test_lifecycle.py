"""Protects the lifecycle of every node: each transition and its way back, and a wrong configuration refused with a reason, not a crash."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from arm_system import ArmSystem
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from ros_process import CONFIG, RosProcess, node_command

from wm_core.simulation import arm

CYCLE = [
    (Transition.TRANSITION_CONFIGURE, "inactive"),
    (Transition.TRANSITION_ACTIVATE, "active"),
    (Transition.TRANSITION_DEACTIVATE, "inactive"),
    (Transition.TRANSITION_CLEANUP, "unconfigured"),
]

URDF = arm.urdf()
NO_LIMITS = URDF.replace("<limit", "<no_limit")
FIVE_JOINTS = URDF.replace('<joint name="wrist_3_joint" type="revolute">', '<joint name="wrist_3_joint" type="fixed">')


def test_every_node_goes_around_twice_and_ends_in_order(new_system: Callable[[], ArmSystem]) -> None:
    system = new_system()
    for name in ("sim_arm", "safety_guard", "reach_pose"):
        system.start(name, autostart=False)
    for name in ("sim_arm", "safety_guard", "reach_pose"):  # the arm first: the others need its description
        assert system.observer.state(f"/{name}") == "unconfigured"
        for transition, state in CYCLE * 2 + CYCLE[:2]:
            assert system.observer.change_state(f"/{name}", transition), f"{name} to {state}: {system.said()}"
            assert system.observer.state(f"/{name}") == state
    system.observer.until(lambda: system.statuses and system.joint_states, "they work after two rounds")
    system.arm()
    for name in ("reach_pose", "safety_guard", "sim_arm"):
        assert system.observer.change_state(f"/{name}", Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert system.observer.state(f"/{name}") == "finalized"
        assert system.processes[name].end() == 0
        assert "Traceback" not in system.processes[name].output()


def test_an_activation_that_failed_half_way_leaves_nothing_behind(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    system = new_system()
    (tmp_path / "nothing.yaml").write_text("{}", encoding="utf-8")
    command = [sys.executable, str(Path(__file__).parent / "activation_fails_once.py"), "--ros-args"]
    command += ["-p", "autostart:=false", "-p", f"config_file:={tmp_path / 'nothing.yaml'}"]
    system.processes["fails_once"] = RosProcess(command, system.domain, tmp_path / "log")
    assert system.observer.change_state("/fails_once", Transition.TRANSITION_CONFIGURE)
    assert not system.observer.change_state("/fails_once", Transition.TRANSITION_ACTIVATE)
    assert "mend: activate again" in system.processes["fails_once"].output()

    def heard() -> int:
        return len(system.observer.node.get_subscriptions_info_by_topic("/fails_once/in"))

    system.observer.until(lambda: heard() == 0, "the subscription of the failed activation is gone")
    assert system.observer.change_state("/fails_once", Transition.TRANSITION_ACTIVATE)
    system.observer.until(lambda: heard() == 1, "the second activation has made its own")


def write(folder: Path, name: str, change: Callable[[dict], object]) -> str:
    """A copy of a shipped YAML file with a change; its path."""
    content = yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    change(content)
    (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(folder / name)


def robot(folder: Path, description: str = URDF, change: Callable[[dict], object] = lambda content: None) -> str:
    """A robot file whose URDF is `description`, with a change; its path."""
    (folder / "arm.urdf").write_text(description, encoding="utf-8")

    def both(content: dict) -> None:
        content.update(description_file="arm.urdf")
        change(content)

    return write(folder, "ur5e.yaml", both)


REFUSALS: dict[str, tuple[Callable[[Path], dict[str, object]], tuple[str, ...]]] = {
    "a URDF without limits": (lambda f: {"robot_file": robot(f, NO_LIMITS)}, ("shoulder_pan_joint", "limit")),
    "a URDF with five joints": (lambda f: {"robot_file": robot(f, FIVE_JOINTS)}, ("six revolute joints", "wrist_2_joint")),
    "an unreadable URDF": (lambda f: {"robot_file": robot(f, "<robot name='x'><link")}, ("URDF",)),
    "an empty URDF": (lambda f: {"robot_file": robot(f, "")}, ("URDF", "empty")),
    "no such robot file": (lambda f: {"robot_file": str(f / "none.yaml")}, ("none.yaml", "cannot be read")),
    "a missing acceleration": (
        lambda f: {"robot_file": robot(f, change=lambda c: c["limits"]["acceleration"].pop("elbow_joint"))},
        ("no acceleration limit for elbow_joint",),
    ),
    "a negative jerk": (
        lambda f: {"robot_file": robot(f, change=lambda c: c["limits"]["jerk"].update(elbow_joint=-1.0))},
        ("jerk.elbow_joint", "-1.0", "0 .. 1e+06"),
    ),
    "an unknown key": (
        lambda f: {"config_file": write(f, "safety_guard.yaml", lambda c: c["tool_speed"].update(linaer=0.1))},
        ("tool_speed.linaer", "nearest: linear"),
    ),
    "a NaN": (
        lambda f: {"config_file": write(f, "safety_guard.yaml", lambda c: c["tool_speed"].update(linear=float("nan")))},
        ("tool_speed.linear", "nan", "finite"),
    ),
    "an unknown parameter": (lambda f: {"tool_speed.linaer": 0.1}, ("tool_speed.linaer", "nearest: tool_speed.linear")),
    "a parameter out of range": (lambda f: {"tool_speed.linear": 100.0}, ("tool_speed.linear", "100.0", "0 .. 2 m/s")),
    "a parameter of the wrong type": (lambda f: {"tool_speed.linear": "fast"}, ("tool_speed.linear", "fast", "float")),
    "no robot description": (lambda f: {"description_timeout": 0.5}, ("no robot description came within 0.5 s", "start the arm first")),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> object:
    """One guard per refusal, all started at once under names of their own."""
    system = ArmSystem(tmp_path_factory.mktemp("refused"))
    diagnostics = system.observer.hear(DiagnosticArray, "/diagnostics")
    for index, (what, (parameters, _)) in enumerate(REFUSALS.items()):
        folder = tmp_path_factory.mktemp(f"case_{index}")
        described = {} if what == "no robot description" else {"robot_file": robot(folder)}
        system.start("safety_guard", node=f"guard_{index}", **{**described, **parameters(folder)})
    yield system, diagnostics
    system.close()


@pytest.mark.parametrize("what", REFUSALS)
def test_a_guard_that_cannot_be_configured_says_why_and_goes_on(refused: tuple[ArmSystem, list[DiagnosticArray]], what: str) -> None:
    system, diagnostics = refused
    index, words = list(REFUSALS).index(what), REFUSALS[what][1]
    name = f"guard_{index}"

    def faults() -> list[str]:
        own = f"/{name}: lifecycle"
        return [s.message for m in diagnostics for s in m.status if s.name == own and s.level == DiagnosticStatus.ERROR]

    system.observer.until(faults, f"{name} reports a fault; it said: {system.processes[name].output()}", within=40.0)
    for word in words:
        assert word in faults()[-1]
        assert word in system.processes[name].output()
    assert "Traceback" not in system.processes[name].output()
    assert system.observer.state(f"/{name}") == "unconfigured"
    assert not [topic for topic in system.observer.topics() if topic == "/arm/delta_command"]


def test_a_node_can_be_mended_without_a_restart(new_system: Callable[[], ArmSystem]) -> None:
    """The guard was started before the arm and found no description; the arm comes up, and configuring then works."""
    system = new_system()
    system.start("safety_guard", description_timeout=0.3)
    system.observer.until(lambda: "no robot description" in system.said(), "the refusal")
    system.start("sim_arm")
    system.observer.until(lambda: system.observer.change_state("/safety_guard", Transition.TRANSITION_CONFIGURE), "configuring succeeds")
    assert system.observer.change_state("/safety_guard", Transition.TRANSITION_ACTIVATE)
    system.arm()


def test_two_guards_of_one_name_refuse_to_arm(new_system: Callable[[], ArmSystem]) -> None:
    """What happens when a second launch shares the domain."""
    system = new_system().bring_up("sim_arm", "safety_guard")
    second = RosProcess(node_command("safety_guard"), system.domain, system.processes["sim_arm"].log.with_name("second.log"))
    system.processes["second"] = second
    system.observer.until(
        lambda: "2 nodes are named /safety_guard" in system.observer.trigger("/safety_guard/arm").message, "the refusal", within=30.0
    )
