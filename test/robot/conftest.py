"""Fixtures of the guard tests."""

from __future__ import annotations

from typing import Any

import pytest
from guard_rig import HOME, Rig, make_guard

from wm_core.robot.limits import Limits


@pytest.fixture
def rig() -> Rig:
    """An armed guard at the home pose, shipped configuration."""
    return Rig(make_guard())


@pytest.fixture
def make_rig() -> Any:
    """What makes a rig from changed settings, such as {"tool_speed.linear": 1.0}, another start, or other limits."""

    def make(changes: dict[str, Any] | None = None, q: Any = HOME, limits: Limits | None = None, armed: bool = True, **fields: Any) -> Rig:
        return Rig(make_guard(changes, limits, **fields), q, armed)

    return make
