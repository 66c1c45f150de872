"""A ROS domain, a node and companion processes for the tests that speak over real DDS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before the first message class is imported: setters then check the types of what they are given.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"

from observer import Observer
from rclpy.node import Node
from ros_process import Domain, RosProcess, claim_domain


@pytest.fixture(scope="module")
def domain() -> Iterator[Domain]:
    """One domain for the tests of a file."""
    claimed = claim_domain()
    yield claimed
    claimed.release()


@pytest.fixture(scope="module")
def observer(domain: Domain) -> Iterator[Observer]:
    """A node of this process that waits for events."""
    made = Observer(domain.number)
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(observer: Observer) -> Node:
    """The bare node of the observer."""
    return observer.node


@pytest.fixture(scope="module")
def start(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RosProcess]]:
    """Start a command on the file's domain; whatever still runs is ended after the file's tests."""
    started: list[RosProcess] = []

    def start_one(*command: str | Path, **environment: str) -> RosProcess:
        log = tmp_path_factory.mktemp("process") / "log.txt"
        started.append(RosProcess(command, domain, log, **environment))
        return started[-1]

    yield start_one
    for process in started:
        process.end()
