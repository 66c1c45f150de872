"""The configuration as it ships, and arms made from it."""

from pathlib import Path

import pytest

from wm_core import configuration
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig


@pytest.fixture(scope="session")
def config() -> SimConfig:
    return configuration.read(SimConfig, Path(__file__).parents[2] / "config" / "sim_arm.yaml")


@pytest.fixture
def embedded_arm(config: SimConfig) -> EmbeddedArm:
    return EmbeddedArm(config, seed=3)
