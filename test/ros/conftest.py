"""Fixtures of the tests that start real nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before the first message class is imported: setters then check the types of what they are given.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"

from arm_system import CALM, ArmSystem


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[Callable[[], ArmSystem]]:
    """Make an empty system on a domain of its own; all are closed at the end of the test."""
    made: list[ArmSystem] = []

    def make() -> ArmSystem:
        folder = tmp_path / f"system_{len(made)}"
        folder.mkdir()
        made.append(ArmSystem(folder))
        return made[-1]

    yield make
    for system in made:
        system.close()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmSystem]:
    """Arm, guard and reach_pose, shared by the tests of one file."""
    shared = ArmSystem(tmp_path_factory.mktemp("system"))
    try:
        yield shared.bring_up(**CALM)
    finally:
        shared.close()


@pytest.fixture
def armed(system: ArmSystem) -> ArmSystem:
    """The shared system with the guard armed and the arm at home, at rest; what an earlier test sent has ended."""
    system.observer.silence()
    system.observer.trigger("/safety_guard/estop")
    system.await_rest()
    system.observer.trigger("/sim_arm/reset")
    system.await_rest()
    system.arm()
    return system
