"""Protects the generated messages and services: every kind of field crosses real DDS between two processes and comes back unchanged."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from echo_node import DEPTH, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_content import messages, plain
from observer import Observer
from rclpy.node import Node
from ros_process import RosProcess
from test_type_hashes import OURS
from type_descriptions import type_hash

from embedded_ros.interfaces import Definitions, install
from embedded_ros.prefix import HERE, Prefix

DEFINITIONS = Definitions("wm_test_interfaces", Path(__file__).parent / "wm_test_interfaces")
OTHERS = [f"wm_test_interfaces/{path.parent}/{path.stem}" for path in DEFINITIONS.files]
NAMES = [*OURS, *OTHERS]
MESSAGES = [name for name in NAMES if "/msg/" in name]
SERVICES = [name for name in NAMES if "/srv/" in name]
MANY = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    """`wm_test_interfaces`, built into a prefix of its own that this process and its children see."""
    prefix = Prefix(tmp_path_factory.mktemp("over lay"))
    assert install(DEFINITIONS, python_package=True, prefix=prefix)
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (("AMENT_PREFIX_PATH", prefix.root), ("LD_LIBRARY_PATH", prefix.libraries), ("PYTHONPATH", prefix.site_packages)):
            patch.setenv(name, f"{folder}:{os.environ.get(name, '')}".rstrip(":"))
        patch.syspath_prepend(str(prefix.site_packages))
        yield prefix


@dataclass(frozen=True)
class Mirror:
    """The companion process, seen from here."""

    observer: Observer

    def there_and_back(self, name: str, message: Any) -> Any:
        """`message` as it comes back from topic `name`."""
        send, heard = self._channel(name, type(message))
        send(message)
        return self.observer.until(lambda: heard and heard.pop(), f"{name} back")

    def ask(self, name: str, request: Any, answer: Any) -> tuple[Any, Any]:
        """What the companion was asked and what it answered, having been told to answer `answer`."""
        self.there_and_back(name, answer)
        asked = self.observer.hear(type(request), f"asked/{name}", DEPTH) if name not in self._asked else self._asked[name]
        self._asked[name] = asked
        return self.observer.call(load(name), name, request), self.observer.until(lambda: asked and asked.pop(), f"request of {name}")
