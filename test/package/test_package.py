"""Protects what colcon builds from: package.xml, CMakeLists.txt and setup.cfg say what the sources are and use, and nothing else."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from catkin_pkg.package import Package, parse_package

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "package.xml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")

# Import -> key of the system; a ROS package's key is its import name.
SYSTEM_KEYS = {"cv2": "python3-opencv", "matplotlib": "python3-matplotlib", "numpy": "python3-numpy", "yaml": "python3-yaml"}
# Imports that no system key brings: pip does, as docs/system_ros.md says.
FROM_PIP = {
    "av",
    "daqp",
    "mcap",
    "mujoco",
    "onnx",
    "onnxruntime",
    "pyarrow",
    "rosbags",
    "safetensors",
    "timm",
    "torch",
    "tqdm",
    "zstandard",
}
# These need a numpy that the system's packages break on, so they have an environment of their own.
APART = {"datasets", "lerobot"}
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}
PIP_USED_WITHOUT_IMPORT = {"tensorboard"}  # torch.utils.tensorboard writes with it
USED_WITHOUT_IMPORT = {
    "ros2launch",  # the verb of `ros2 launch wm_ros ...`
    "rosidl_default_runtime",  # the generated interfaces load it
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(*folders: str) -> set[str]:
    """Top-level names that are imported below the folders and belong neither to Python nor to this project."""
    names = set()
    for path in sources(*folders):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"wm_core", "wm_ros"}


def launched_packages() -> set[str]:
    """Packages whose executables the launch files start: Node(package="...")."""
    calls = [
        node for path in sources("launch") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    values = {
        keyword.value.value
        for call in calls
        for keyword in call.keywords
        if keyword.arg == "package" and isinstance(keyword.value, ast.Constant)
    }
    return {str(value) for value in values} - {"wm_ros"}


def executables() -> dict[str, str]:
    """Name -> "module:function" of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines)}


def defines_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def interface_files() -> set[str]:
    return {f"{folder}/{path.name}" for folder in ("msg", "srv") for path in (ROOT / folder).iterdir()}


def interface_packages() -> set[str]:
    """Packages whose types stand in a field of msg/ or srv/."""
    field = re.compile(r"^([a-z][a-z0-9_]*)/[A-Z]\w*", re.MULTILINE)
    return {package for name in interface_files() for package in field.findall((ROOT / name).read_text(encoding="utf-8"))}


def cmake_interfaces() -> tuple[set[str], set[str]]:
    """(files, dependency packages) of rosidl_generate_interfaces."""
    call = re.search(r"rosidl_generate_interfaces\((.*?)\)", CMAKE, re.DOTALL)
    assert call
    files, _, dependencies = call[1].partition("DEPENDENCIES")
    return set(re.findall(r'"([^"]+)"', files)), set(dependencies.split())


def names(dependencies: list[object]) -> set[str]:
    return {dependency.name for dependency in dependencies}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def manifest() -> Package:
    warnings: list[str] = []
    package = parse_package(str(MANIFEST), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    return package


def test_manifest_is_valid_and_builds_with_ament_cmake(manifest: Package) -> None:
    assert (manifest.name, manifest.package_format, manifest.get_build_type()) == ("wm_ros", 3, "ament_cmake")
    assert [group.name for group in manifest.member_of_groups] == ["rosidl_interface_packages"]


def test_cmake_lists_exactly_the_interfaces_that_exist() -> None:
    files, dependencies = cmake_interfaces()
    assert files == interface_files()
    assert dependencies == interface_packages()


def test_interface_packages_are_needed_to_build_and_to_run(manifest: Package) -> None:
    assert names(manifest.build_depends) == interface_packages()
    assert names(manifest.build_export_depends) == interface_packages()


def test_cmake_finds_exactly_what_the_manifest_builds_with(manifest: Package) -> None:
    found = set(re.findall(r"find_package\((\w+) REQUIRED\)", CMAKE))
    tests = {name for name in names(manifest.test_depends) if name.startswith("ament_")}
    assert found == names(manifest.buildtool_depends) | names(manifest.build_depends) | tests


def test_manifest_runs_with_exactly_what_the_sources_use(manifest: Package) -> None:
    imported = {SYSTEM_KEYS.get(name, name) for name in imports("wm_core", "wm_ros", "launch") - FROM_PIP - APART}
    used = imported | launched_packages() | interface_packages() | USED_WITHOUT_IMPORT
    assert names(manifest.exec_depends) == used


def test_pip_dependencies_are_exactly_what_the_sources_import() -> None:
    ours = FROM_PIP | APART | set(SYSTEM_KEYS)
    used = {DISTRIBUTIONS.get(name, name) for name in imports("wm_core", "wm_ros") & ours} | PIP_USED_WITHOUT_IMPORT
    declared = {re.split(r"[<>=!~\[ ]", line)[0] for line in PROJECT["dependencies"]}
    assert declared == used
    assert imports("wm_core") <= ours, "wm_core imports something that neither pip nor the system is asked for"


def test_manifest_asks_for_no_pip_package(manifest: Package) -> None:
    asked = names(manifest.exec_depends) | names(manifest.test_depends)
    from_pip = FROM_PIP | APART
    assert not asked & (from_pip | {f"python3-{name}" for name in from_pip})


def test_the_page_for_a_system_ros_installs_what_the_system_lacks() -> None:
    page = (ROOT / "docs" / "system_ros.md").read_text(encoding="utf-8")
    assert re.search(r"^ *pip install -r \S*requirements-system-ros\.txt$", page, re.MULTILINE)
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
    lines = (ROOT / "requirements-system-ros.txt").read_text(encoding="utf-8").splitlines()
    asked = {line.split("#")[0].strip() for line in lines} - {""}
    exact = dict(line.split("==") for line in asked if "==" in line)
    assert set(exact) >= FROM_PIP | PIP_USED_WITHOUT_IMPORT
    assert not set(exact) & APART
    assert exact == {name: pinned[name.lower()] for name in exact}
    assert asked - {f"{name}=={version}" for name, version in exact.items()} == {"numpy<2"}


@pytest.mark.parametrize(("name", "target"), executables().items())
def test_every_executable_has_its_main(name: str, target: str) -> None:
    module, _, function = target.partition(":")
    path = ROOT / (module.replace(".", "/") + ".py")
    assert path.is_file(), f"setup.cfg: {name} names {module}, which does not exist"
    assert function == "main"
    assert defines_main(path)


def test_every_node_with_a_main_is_an_executable_of_its_name() -> None:
    mains = {path.stem: f"wm_ros.{path.stem}:main" for path in sources("wm_ros") if defines_main(path)}
    listed = {name: target for name, target in executables().items() if target.startswith("wm_ros.")}
    assert listed == mains


def test_the_list_of_executables_stands_once() -> None:
    assert PROJECT["dynamic"] == ["scripts"]
    assert not {"scripts", "entry-points", "gui-scripts"} & set(PROJECT)


def test_nodes_are_installed_after_the_generated_package() -> None:
    """The later one's __init__.py stays, and it has to be the one that finds the nodes."""
    assert CMAKE.index("install(DIRECTORY wm_ros/") > CMAKE.index("rosidl_generate_interfaces(")
    assert "extend_path" in (ROOT / "wm_ros" / "__init__.py").read_text(encoding="utf-8")


def test_version_and_licence_are_the_same_everywhere(manifest: Package) -> None:
    headings = re.findall(r"^## .*?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert manifest.version == PROJECT["version"] == headings[0]
    assert manifest.licenses == [PROJECT["license"]["text"]] == ["Apache-2.0"]
    assert manifest.licenses[0].file == "LICENSE"
    assert "Apache License\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")
