"""Datasets that are written once and read by many tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from noise_datasets import CONFIG, FPS, LENGTHS, Made, action_mapping, noise_episode, write

from wm_core import configuration
from wm_core.data.collect import CollectConfig
from wm_core.data.dataset_config import DatasetConfig
from wm_core.simulation.sim_config import SimConfig


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Ten labelled episodes, two cameras of different size, several video and table files each."""
    root = tmp_path_factory.mktemp("datasets") / "noise"
    episodes = [noise_episode(seed, rows) for seed, rows in enumerate(LENGTHS)]
    write(root, episodes)
    roles = {"left": "observation.images.left", "wrist": "observation.images.wrist"}
    config = DatasetConfig("noise", FPS, roles, action_mapping(), ("observation.state",))
    return Made(root, config, tuple(episodes))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three unlabelled episodes with one camera."""
    root = tmp_path_factory.mktemp("datasets") / "plain"
    camera = {"observation.images.left": (64, 96)}
    episodes = [noise_episode(100 + seed, 20, camera, action=False) for seed in range(3)]
    write(root, episodes)
    return Made(root, DatasetConfig("plain", FPS, {"left": "observation.images.left"}), tuple(episodes))


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Callable[[], Made]:
    """Copies of the dataset that a test may damage."""

    def copy() -> Made:
        root = tmp_path / "copy"
        shutil.copytree(made.root, root)
        return Made(root, made.config, made.episodes)

    return copy


@pytest.fixture(scope="session")
def collect_config() -> CollectConfig:
    return configuration.read(CollectConfig, CONFIG / "collect.yaml")


@pytest.fixture(scope="session")
def sim_config() -> SimConfig:
    return configuration.read(SimConfig, CONFIG / "sim_arm.yaml")
