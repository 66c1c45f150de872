"""Protects what pip installs: pins that cover every group and name no index address, and a wheel that holds the whole package."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
SOURCES = (
    "config",
    "launch",
    "models",
    "wm_core",
    "wm_ros",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "package.xml",
    "LICENSE",
    "README.md",
)
DATA = f"wm_ros-{PROJECT['version']}.data/data/share/wm_ros/"


def requirements() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for group in PROJECT["optional-dependencies"].values() for line in group)]
    return [Requirement(line) for line in lines]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is made from, with a byte-compiled file that must stay out."""
    copy = tmp_path_factory.mktemp("package") / "tree"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    (copy / "wm_core" / "__pycache__").mkdir()
    (copy / "wm_core" / "__pycache__" / "errors.cpython-312.pyc").write_bytes(b"")
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path) -> zipfile.ZipFile:
    """What pip would make of the tree, built without network and without isolation."""
    out = tree.parent / "out"
    out.mkdir()
    code = f"import setuptools.build_meta as backend; backend.build_wheel({str(out)!r})"
    result = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def files_below(*folders: str) -> set[str]:
    """Files below the folders, relative to the repository, without what Python leaves there."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_pinned_inside_its_range(requirement: Requirement) -> None:
    pins = dict(line.split("==") for line in CONSTRAINTS)
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_constraints_are_pins_and_nothing_else() -> None:
    assert CONSTRAINTS
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line)] == []
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_wheel_holds_every_module_and_shared_file(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == files_below("wm_core", "wm_ros") | {DATA + name for name in files_below("config", "launch", "models")}


def test_wheel_has_the_executables_of_setup_cfg(wheel: zipfile.ZipFile) -> None:
    expected, got = configparser.ConfigParser(), configparser.ConfigParser()
    expected.read(ROOT / "setup.cfg", encoding="utf-8")
    got.read_string(wheel.read(f"wm_ros-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    listed = expected["options.entry_points"]["console_scripts"].strip().splitlines()
    assert {tuple(line.replace(" ", "").split("=")) for line in listed} == set(got["console_scripts"].items())
