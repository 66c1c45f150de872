"""Protects how far discovery goes: it works where there is no multicast, stays on the machine by default, and leaves it when told to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
WM = HERE.parents[1] / "wm"
ISOLATE = ["unshare", "--map-root-user", "--net", "--mount"]


def why_not() -> str:
    """Why this machine cannot make namespaces; empty when it can."""
    for tool in ("unshare", "ip", "mount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    cable = ["ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "two"]
    tried = subprocess.run([*ISOLATE, *cable], capture_output=True, text=True, check=False)
    return tried.stderr.strip()


WHY_NOT = why_not()


def heard(world: str, seconds: float, **environment: str) -> bool:
    """Whether one process hears another in a world of its own, in the environment that ./wm makes."""
    inherited = {name: value for name, value in os.environ.items() if name != "ROS_AUTOMATIC_DISCOVERY_RANGE"}
    script = [HERE / "in_namespaces.sh", world, sys.executable, HERE / "greeter.py", str(seconds)]
    result = subprocess.run([WM, "exec", *ISOLATE, *script], env={**inherited, **environment}, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode == 0


def test_wm_keeps_discovery_on_the_machine_unless_told_otherwise() -> None:
    show = [WM, "exec", "printenv", "ROS_AUTOMATIC_DISCOVERY_RANGE"]
    unset = {name: value for name, value in os.environ.items() if name != "ROS_AUTOMATIC_DISCOVERY_RANGE"}
    for environment, expected in ((unset, "LOCALHOST"), ({**unset, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "SUBNET")):
        assert subprocess.run(show, env=environment, capture_output=True, text=True, check=True).stdout.strip() == expected


@pytest.mark.skipif(bool(WHY_NOT), reason=f"no namespaces here: {WHY_NOT}")
def test_nodes_find_each_other_without_multicast() -> None:
    assert heard("alone", 30.0)


@pytest.mark.skipif(bool(WHY_NOT), reason=f"no namespaces here: {WHY_NOT}")
def test_another_machine_hears_nothing_by_default_and_everything_on_the_subnet() -> None:
    assert heard("wired", 30.0, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    assert not heard("wired", 5.0)
