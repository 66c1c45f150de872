"""The wm_ros source tree as an installed ROS package: on the import path, in the ament index, its executables and files in place."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError
from embedded_ros.prefix import HERE, link_files, write_script

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
    (HERE.site_packages / f"{PACKAGE}.pth").write_text(f"{root}\n", encoding="utf-8")
    HERE.mark("packages", PACKAGE)
    nodes = HERE.libraries / PACKAGE
    shutil.rmtree(nodes, ignore_errors=True)
    for name, (module, function) in executables(root).items():
        write_script((nodes if module.startswith(f"{PACKAGE}.") else HERE.root / "bin") / name, module, function)
    for folder_name in SHARED_FOLDERS:
        link_files(root / folder_name, HERE.share(PACKAGE) / folder_name)
