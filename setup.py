"""What pyproject.toml cannot say: a wheel carries config/, launch/, models/ and msg/ to share/wm_ros, where colcon puts them."""

from pathlib import Path

from setuptools import setup


def shared_files() -> list[tuple[str, list[str]]]:
    """(destination below the prefix, files) of each folder that holds files."""
    tops = [Path(top) for top in ("config", "launch", "models", "msg")]
    folders = [folder for top in tops for folder in (top, *top.rglob("*")) if folder.name != "__pycache__"]
    files = {folder: sorted(str(path) for path in folder.iterdir() if path.is_file()) for folder in folders if folder.is_dir()}
    return [(f"share/wm_ros/{folder.as_posix()}", names) for folder, names in files.items() if names]


setup(data_files=shared_files())
