"""Protects docs/safety.md: every number it names is the one in force in config/safety_guard.yaml."""

from __future__ import annotations

import re
from pathlib import Path

from wm_core.configuration import flatten, read
from wm_core.robot.guard_config import GuardConfig

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_and_the_configuration_agree() -> None:
    in_force = flatten(read(GuardConfig, ROOT / "config" / "safety_guard.yaml"))
    named = re.findall(r"`([a-z_.]+)` = ([\d.]+)", (ROOT / "docs" / "safety.md").read_text(encoding="utf-8"))
    assert len(named) >= 25
    for key, value in named:
        assert in_force[key][0] == float(value), key
