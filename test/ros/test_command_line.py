"""Protects what a user types beside the launch: `ros2 node`, `topic`, `service` and `param` on the nodes as they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arm_system import ArmSystem
from ros_process import ROOT, RosProcess

type Ros2 = Callable[..., str]


@pytest.fixture(scope="module")
def ros2(system: ArmSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ros2]:
    """Run `ros2 ...` beside the system and return what it said; the daemon that the first one starts is stopped afterwards."""
    log: Path = tmp_path_factory.mktemp("ros2") / "said.log"

    def run(*words: str) -> str:
        command = RosProcess([ROOT / "wm", "ros2", *words], system.domain, log)
        # The observer goes on hearing meanwhile, so that no queue overflows.
        system.observer.until(lambda: not command.running(), f"ros2 {' '.join(words)} ends")
        return command.output()

    run("daemon", "start")
    system.observer.until(lambda: {"/sim_arm", "/safety_guard", "/reach_pose"} <= set(run("node", "list").split()), "all nodes are listed")
    yield run
    run("daemon", "stop")


def test_topics_are_listed_and_echoed_with_our_types(ros2: Ros2, armed: ArmSystem) -> None:
    assert "/safety_guard/status [wm_ros/msg/SafetyStatus]" in ros2("topic", "list", "-t")
    echoed = ros2("topic", "echo", "--once", "/safety_guard/status")
    assert "state: 1" in echoed
    assert "active_limits: []" in echoed


def test_a_limit_is_shown_and_tightened_but_not_loosened_again(ros2: Ros2, armed: ArmSystem) -> None:
    described = ros2("param", "describe", "/safety_guard", "tool_speed.angular")
    assert "largest rotation speed of the tool [rad/s]" in described
    assert "Min value: 0.0" in described
    assert "Set parameter successful" in ros2("param", "set", "/safety_guard", "tool_speed.angular", "0.3")
    assert "0.3" in ros2("param", "get", "/safety_guard", "tool_speed.angular")
    refused = ros2("param", "set", "/safety_guard", "tool_speed.angular", "0.5")
    assert "failed" in refused
    assert "tighten" in refused


def test_a_service_is_called_letter_for_letter(ros2: Ros2, armed: ArmSystem) -> None:
    assert "success=True" in ros2("service", "call", "/safety_guard/estop", "std_srvs/srv/Trigger")
    armed.await_status(lambda status: status.code == "ESTOP", "STOPPED")
