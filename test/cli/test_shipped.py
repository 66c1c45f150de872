"""Protects finding the configuration that ships: in a checkout, in an installation, and nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from wm_core.cli.shipped import config_folder, description, shipped
from wm_core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]


def placed(package: Path, config: Path) -> Path:
    package.mkdir(parents=True)
    config.mkdir(parents=True)
    (config / "sim_arm.yaml").touch()
    return package


def test_in_a_checkout_it_is_beside_the_package() -> None:
    assert config_folder() == ROOT / "config"
    assert shipped("collect.yaml").is_file()


@pytest.mark.parametrize("library", ["lib/python3.12/site-packages", "local/lib/python3.12/dist-packages"])
def test_in_an_installation_it_is_below_share(library: str, tmp_path: Path) -> None:
    config = tmp_path / "prefix" / "share" / "wm_ros" / "config"
    assert config_folder(placed(tmp_path / "prefix" / library / "wm_core", config)) == config


def test_the_nearest_one_is_taken(tmp_path: Path) -> None:
    placed(tmp_path / "outer" / "wm_core", tmp_path / "outer" / "config")
    inner = tmp_path / "outer" / "prefix" / "share" / "wm_ros" / "config"
    assert config_folder(placed(tmp_path / "outer" / "prefix" / "lib" / "wm_core", inner)) == inner


def test_where_there_is_none_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="share/wm_ros/config"):
        config_folder(tmp_path / "lib" / "wm_core")


def test_a_bare_word_is_a_description_that_ships_and_anything_else_a_path() -> None:
    assert description("droid") == ROOT / "config" / "datasets" / "droid.yaml"
    for word in ("mine.yaml", "folder/mine", "/tmp/mine.yml"):
        assert description(word) == Path(word)
