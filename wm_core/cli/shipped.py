"""Finding the configuration files that ship, in a checkout and in an installation, without ROS."""

from __future__ import annotations

from pathlib import Path

from wm_core.errors import ConfigurationError

MARK = "sim_arm.yaml"
PACKAGE = Path(__file__).resolve().parents[1]


def config_folder(package: Path = PACKAGE) -> Path:
    """config/ of the checkout that the package wm_core is in, or share/wm_ros/config of the installation."""
    for above in package.parents:
        for folder in (above / "config", above / "share" / "wm_ros" / "config"):
            if (folder / MARK).is_file():
                return folder
    raise ConfigurationError(
        "the configuration files that ship were not found",
        got=f"none above {package}",
        allowed="config/ of a checkout, share/wm_ros/config of an installation",
        mend="install the package again, or give the files by their paths",
    )


def shipped(name: str) -> Path:
    """The configuration file of this name, e.g. collect.yaml or datasets/droid.yaml."""
    return config_folder() / name


def model(name: str) -> Path:
    """A part of the embedded model: encoder, world_model or decoder."""
    return config_folder().parent / "models" / "embedded" / name


def decoder(given: str, world_model: str) -> Path | None:
    """The decoder that is named; where none is, that of the embedded model if nothing else imagines (`world_model` empty)."""
    if given:
        return Path(given).expanduser()
    return None if world_model else model("decoder")


def description(word: str) -> Path:
    """A dataset's description: a path as it is; a bare name (embedded_arm) is one of those that ship."""
    bare = "/" not in word and not word.endswith((".yaml", ".yml"))
    return shipped(f"datasets/{word}.yaml") if bare else Path(word)
