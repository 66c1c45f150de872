"""The wm_ros source tree as an installed ROS package: on the import path, in the ament index, its executables and files in place."""

from __future__ import annotations

import configparser
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError
from embedded_ros.prefix import LIBRARIES, PREFIX, SITE_PACKAGES, link_files, mark, share, write_script

PACKAGE = "wm_ros"
SHARED_FOLDERS = ("launch", "config")


def executables(root: Path) -> dict[str, tuple[str, str]]:
    """Executable name -> (module, function), from setup.cfg: the one list that colcon and pip read too."""
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    lines = parser.get("options.entry_points", "console_scripts", fallback="").strip().splitlines()
    if not lines:
        raise EmbeddedRosError(f"{root}/setup.cfg lists no console_scripts", "restore setup.cfg from the repository")
    pairs = (line.split("=", 1) for line in lines)
    return {name.strip(): _split(target.strip()) for name, target in pairs}


def _split(target: str) -> tuple[str, str]:
    module, _, function = target.partition(":")
    return module, function


def link(root: Path) -> None:
    """Register the source tree: its files are linked, so that an edit is in force without installing again."""
    (SITE_PACKAGES / f"{PACKAGE}.pth").write_text(f"{root}\n", encoding="utf-8")
    mark("packages", PACKAGE)
    for name, (module, function) in executables(root).items():
        folder = LIBRARIES / PACKAGE if module.startswith(f"{PACKAGE}.") else PREFIX / "bin"
        write_script(folder / name, module, function)
    for folder_name in SHARED_FOLDERS:
        link_files(root / folder_name, share(PACKAGE) / folder_name)
