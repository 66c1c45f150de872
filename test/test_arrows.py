"""Protects the arrows: wm_core knows no ROS, embedded_ros knows neither, nothing points back, the guard needs no torch."""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("wm_core", "wm_ros", "embedded_ros")
LEVELS = (
    {"cli"},
    {"evaluation", "training"},
    {"planning", "data", "simulation"},
    {"world_model", "vision", "robot"},
    {"configuration", "device", "errors", "orphans"},
)
HEAVY = {"torch", "torchvision", "timm", "lightning", "jax", "tensorflow"}
LIGHT_PROCESSES = ("safety_guard", "record_lerobot")
# Everything that a ROS installation puts on the import path has one of these words in its name, or is one of these.
ROS_WORDS = (
    "rclpy",
    "ros2",
    "rosidl",
    "ament",
    "launch",
    "_msgs",
    "_srvs",
    "_interfaces",
    "cv_bridge",
    "tf2",
    "rosbag2",
    "wm_ros",
    "embedded_ros",
)


def imports_in(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Full names of all that `source` imports anywhere, also inside functions; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module", "__import__"}:
            yield from (word.value for word in node.args[:1] if isinstance(word, ast.Constant))


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of all packages here."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    path = modules()[module]
    return frozenset(imports_in(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"))


def closure(module: str) -> set[str]:
    """All that importing `module` may bring in: modules of this repository with their parents, and the names of others."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in modules():
            waiting += imports(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return seen


def is_ros(name: str) -> bool:
    top = name.partition(".")[0]
    return any(word in top for word in ROS_WORDS)


def room(module: str) -> str:
    """The second part of a module of wm_core: its room, or the shared file at its top."""
    return module.split(".")[1] if module.count(".") else ""


def level(name: str) -> int:
    return next((number for number, rooms in enumerate(LEVELS) if name in rooms), -1)


CORE = [name for name in modules() if name.split(".")[0] == "wm_core"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import rclpy.node as n", "rclpy.node"),
        ("def f():\n    from wm_ros import images", "wm_ros.images"),
        ("if x:\n    from . import b", "wm_core.robot.b"),
        ("from ..simulation.arm import C", "wm_core.simulation.arm"),
        ("import importlib\nimportlib.import_module('torch')", "torch"),
    ],
)
def test_an_import_is_found_wherever_it_stands(source: str, expected: str) -> None:
    assert expected in set(imports_in(source, "wm_core.robot.a", is_package=False))


def test_the_closure_follows_the_imports() -> None:
    reached = closure("wm_ros.safety_guard")
    assert {"rclpy", "wm_core.robot.guard", "wm_core.errors", "numpy"} <= reached


@pytest.mark.parametrize("module", CORE)
def test_wm_core_imports_no_ros(module: str) -> None:
    assert not sorted(filter(is_ros, imports(module)))


def test_embedded_ros_imports_neither_of_the_others() -> None:
    for module in (name for name in modules() if name.split(".")[0] == "embedded_ros"):
        assert not {name for name in imports(module) if name.split(".")[0] in {"wm_core", "wm_ros"}}, module


def test_the_nodes_do_not_know_which_ros_they_are_on() -> None:
    for module in (name for name in modules() if name.split(".")[0] == "wm_ros"):
        assert not {name for name in imports(module) if name.split(".")[0] == "embedded_ros"}, module


def test_every_room_of_wm_core_has_its_level() -> None:
    assert {room(module) for module in CORE} - {""} <= set().union(*LEVELS)


@pytest.mark.parametrize("module", CORE)
def test_no_room_imports_from_above(module: str) -> None:
    own = level(room(module))
    used = {room(name) for name in imports(module) if name.startswith("wm_core.")} - {""}
    assert not {name for name in used if level(name) < own}, f"{module} reaches up"


def test_rooms_of_one_level_do_not_need_each_other_in_a_circle() -> None:
    needs = {name: set() for rooms in LEVELS for name in rooms}
    for module in filter(room, CORE):
        needs[room(module)] |= {room(name) for name in imports(module) if name.startswith("wm_core.")} & set(needs) - {room(module)}
    for _ in range(len(needs)):
        needs = {name: others | set().union(*(needs[other] for other in others)) for name, others in needs.items()}
    assert not {name for name, others in needs.items() if name in others}


def test_the_light_processes_load_no_torch() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    modules_of = {name.strip(): target.strip().partition(":")[0] for name, target in (line.split("=") for line in lines)}
    present = [modules_of[name] for name in LIGHT_PROCESSES if name in modules_of]
    assert "wm_ros.safety_guard" in present
    for module in present:
        assert not {name.partition(".")[0] for name in closure(module)} & HEAVY, module


def test_the_installation_of_embedded_ros_starts_without_any_package() -> None:
    # ./wm asks it for a compiler before anything is installed.
    third_party = {name.partition(".")[0] for name in closure("embedded_ros.compiler")} - set(sys.stdlib_module_names)
    assert third_party == {"embedded_ros"}
