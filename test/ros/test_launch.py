"""Protects the launch file: what it brings up, its arguments and their errors, namespaces, and an end that leaves nothing behind."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from arm_system import ArmSystem
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from ros_process import CONFIG, ROOT, RosProcess, command_lines, descendants, node_command

from wm_core import configuration
from wm_core.cli.embedded_config import EmbeddedConfig
from wm_ros.conversions import array
from wm_ros.msg import DeltaEECommand, PlannerStatus, SafetyStatus

LAUNCH = (ROOT / "wm", "ros2", "launch", "wm_ros", "mpc_arm.launch.py")
ARM = ("sim_arm", "safety_guard", "reach_pose")
MODEL = ("encoder", "mpc_controller")
DEFAULT_GOAL = np.array(configuration.read(EmbeddedConfig, CONFIG / "embedded.yaml").goal)


class Launched(ArmSystem):
    """The launch file as its user starts it."""

    def __init__(self, folder: Path, namespace: str = "") -> None:
        super().__init__(folder, namespace)
        self.sent: list[DeltaEECommand] = self.observer.hear(DeltaEECommand, f"{namespace}/arm/delta_command")

    def launch(self, *arguments: str) -> RosProcess:
        self.processes["launch"] = RosProcess([*LAUNCH, *arguments], self.domain, self._folder / "launch.log")
        return self.processes["launch"]


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Launch with these arguments and wait until the guard has joint states."""
    made: list[Launched] = []

    def start(*arguments: str, namespace: str = "") -> Launched:
        made.append(Launched(tmp_path, namespace))
        made[-1].launch(*arguments)
        made[-1].observer.until(lambda: made[-1].statuses and made[-1].joint_states, f"the nodes start; {made[-1].said()}")
        return made[-1]

    yield start
    for system in made:
        system.close()


def test_every_argument_is_described_and_there_are_at_most_eight(new_system: Callable[[], ArmSystem], tmp_path: Path) -> None:
    shown = RosProcess([*LAUNCH, "--show-args"], new_system().domain, tmp_path / "args.log")
    assert shown.wait() == 0
    text = shown.output()
    declared = get_launch_description_from_python_launch_file(str(ROOT / "launch" / "mpc_arm.launch.py")).get_launch_arguments()
    assert 0 < len(declared) <= 8
    for argument in declared:
        found = re.search(rf"'{argument.name}':\s+(.+)\n\s+\(default: ", text)
        assert found, f"{argument.name} is not shown in:\n{text}"
        assert len(found[1]) > 10, found[1]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (("config:=/nowhere/at/all",), ("/nowhere/at/all", "not a directory", "give one")),
        (("robot:=ur5f",), ("ur5f", "there is no", "ur5e.yaml")),
        (("lock_step:=true", "sim:=false"), ("lock_step:=true", "sim:=true")),
        (("sim:=maybe",), ("maybe", "true", "false")),
        (("model:=/nowhere",), ("/nowhere/encoder", "world_model/", "none")),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_started(
    new_system: Callable[[], ArmSystem], tmp_path: Path, argument: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused = RosProcess([*LAUNCH, *argument], new_system().domain, tmp_path / "refused.log")
    assert refused.wait() != 0
    assert "Traceback" not in refused.output()
    for word in words:
        assert word in refused.output()
    assert "process started" not in refused.output()


@pytest.mark.parametrize("number", ["999", "-1", "left"])
def test_a_domain_that_does_not_exist_is_named(new_system: Callable[[], ArmSystem], tmp_path: Path, number: str) -> None:
    refused = RosProcess(node_command("safety_guard"), new_system().domain, tmp_path / "refused.log", ROS_DOMAIN_ID=number)
    assert refused.wait() != 0
    assert "Traceback" not in refused.output()
    for word in ("ROS_DOMAIN_ID", number, "0 .. 232", "set another"):
        assert word in refused.output()


def test_a_launch_in_a_namespace_arms_only_when_told_and_sigint_ends_all_of_it(launched: Callable[..., Launched]) -> None:
    system = launched("namespace:=left", namespace="/left")
    planner: list[PlannerStatus] = system.observer.hear(PlannerStatus, "/left/mpc_controller/status")
    system.observer.until(lambda: planner, lambda: f"the controller is ready; {system.said()}", within=60.0)
    assert planner[-1].state == PlannerStatus.IDLE
    assert "/left/plan_to_goal" in dict(system.observer.node.get_service_names_and_types())
    assert {status.state for status in system.statuses} == {SafetyStatus.DISARMED}
    assert not system.sent
    wanted = {"/left/joint_states", "/left/delta_command", "/left/arm/delta_command", "/left/camera/front/image_raw"}
    system.observer.until(lambda: wanted <= set(system.observer.topics()), "every topic is in the namespace")
    assert not set(system.observer.topics()) & {"/joint_states", "/delta_command", "/arm/delta_command"}
    system.arm()
    system.trace()
    system.await_motion()
    assert_ends(system, signal.SIGINT, *ARM, *MODEL)


def test_the_default_goal_is_reached_with_the_commands_that_a_user_types(launched: Callable[..., Launched], tmp_path: Path) -> None:
    """ros2 launch, ros2 service call /plan_to_goal: the embedded model takes the arm to where the shipped goal's picture shows it."""
    system = launched("log_level:=warn")
    planner: list[PlannerStatus] = system.observer.hear(PlannerStatus, "/mpc_controller/status")
    system.observer.until(lambda: planner, lambda: f"the controller is ready; {system.said()}", within=60.0)
    system.arm()
    away = np.linalg.norm(system.tool()[:3, 3] - DEFAULT_GOAL)
    answer = asked(system, tmp_path, "/plan_to_goal", "PlanToGoal", "{execute: true}")
    assert "success=True" in answer
    ended = lambda: planner[-1].state in (PlannerStatus.REACHED, PlannerStatus.FAILED)  # noqa: E731
    system.observer.until(ended, lambda: f"the end; {answer} {system.said()}", within=60.0)
    assert planner[-1].state == PlannerStatus.REACHED, planner[-1].text
    system.await_rest()
    assert away > 0.15
    assert np.linalg.norm(system.tool()[:3, 3] - DEFAULT_GOAL) < 0.04


def test_files_of_ones_own_start_servers_and_the_current_view_is_kept(launched: Callable[..., Launched], tmp_path: Path) -> None:
    """A directory with mpc_controller.yaml alone: the servers it names imagine, and the files it names are still found."""
    own = tmp_path / "own"
    own.mkdir()
    text = (CONFIG / "mpc_controller.yaml").read_text(encoding="utf-8")
    changed = text.replace("servers: []", "servers: [left, right]").replace('goals: ""', f"goals: {tmp_path / 'goals'}")
    (own / "mpc_controller.yaml").write_text(changed, encoding="utf-8")
    system = launched(f"config:={own}", "log_level:=warn")
    planner: list[PlannerStatus] = system.observer.hear(PlannerStatus, "/mpc_controller/status")
    system.observer.until(lambda: planner, lambda: f"the controller is ready; {system.said()}", within=90.0)
    services = dict(system.observer.node.get_service_names_and_types())
    assert {"/left/rollout", "/right/rollout", "/plan_to_goal"} <= services.keys()
    system.observer.until(
        lambda: "success=True" in asked(system, tmp_path, "/plan_to_goal", "PlanToGoal", "{}"),
        lambda: f"a plan by the servers; {system.said()}",
        within=60.0,
    )
    kept = asked(system, tmp_path, "/mpc_controller/save_goal", "SaveGoal", "{name: here}")
    assert "success=True" in kept
    assert (tmp_path / "goals" / "here" / "picture.png").is_file()


def asked(system: Launched, folder: Path, service: str, kind: str, request: str) -> str:
    """What `ros2 service call` prints."""
    words = ("ros2", "service", "call", service, f"wm_ros/srv/{kind}", request)
    call = RosProcess([ROOT / "wm", *words], system.domain, folder / "call.log")
    assert call.wait() == 0
    return call.output()


def test_sigterm_ends_all_of_it_too(launched: Callable[..., Launched]) -> None:
    system = launched("model:=none")
    assert system.await_status(lambda status: True, "a status").state == SafetyStatus.DISARMED
    system.arm()
    system.trace()
    system.await_motion()
    assert_ends(system, signal.SIGTERM, *ARM)


def assert_ends(system: Launched, signum: signal.Signals, *nodes: str) -> None:
    """After the signal every node ends in order, none is left over, and the last command to the arm was zero."""
    launch = system.processes["launch"]
    pids = descendants(launch.pid)
    assert {name for name in (*ARM, *MODEL) for line in command_lines(pids) if f"/wm_ros/{name} " in line} == set(nodes)
    launch.send(signum)
    system.observer.until(lambda: not launch.running(), "launch ends")
    assert command_lines(pids) == []
    for name in nodes:
        assert re.search(rf"\[{name}-\d\]: process has finished cleanly", launch.output()), launch.output()
    assert "Traceback" not in launch.output()
    system.observer.until(lambda: is_zero(system.sent[-1]), "zero is the last command that is heard", within=5.0)


def is_zero(command: DeltaEECommand) -> bool:
    return not array(command.translation).any() and not array(command.rotation).any()
