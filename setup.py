"""What pyproject.toml cannot say: a wheel carries config/ and launch/ to share/wm_ros, where colcon puts them."""

import sys
from pathlib import Path

from setuptools import setup


def shared_files() -> list[tuple[str, list[str]]]:
    """(destination below the prefix, files) of every folder below config/ and launch/."""
    folders = [folder for top in ("config", "launch") for folder in (Path(top), *Path(top).rglob("*")) if folder.name != "__pycache__"]
    files = {folder: sorted(str(path) for path in folder.iterdir() if path.is_file()) for folder in folders if folder.is_dir()}
    return [(f"share/wm_ros/{folder.as_posix()}", names) for folder, names in files.items() if names]


# An editable install reads the checkout: a copy in share/ would go stale at the first edit.
setup(data_files=[] if "editable_wheel" in sys.argv else shared_files())
