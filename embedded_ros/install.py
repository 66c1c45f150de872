"""Make the embedded ROS in this virtual environment: tools, interfaces, the package, the environment file. Repeats cheaply."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from embedded_ros import environment, package, tools
from embedded_ros.interfaces import Definitions
from embedded_ros.interfaces import install as install_interfaces
from embedded_ros.prefix import HERE

LAUNCH_ENTRY_POINT = "[ros2cli.command]\nlaunch = embedded_ros.launch_command:LaunchCommand\n"


def install(root: Path, say: Callable[[str], None]) -> None:
    """Set up everything for the source tree at `root`; `say` gets one line per step that takes time."""
    environment.write()
    if tools.wanted() and not tools.installed():
        say(tools.NOTICE)
        with tempfile.TemporaryDirectory() as folder:
            tools.install(Path(folder))
            for name in tools.INTERFACES:
                _install_interfaces(Definitions(name, Path(folder) / name), say)
        _register_launch_command()
        tools.mark_installed()
    _install_interfaces(Definitions("tf2_msgs", Path(__file__).parent / "tf2_msgs"), say)
    _install_interfaces(Definitions(package.PACKAGE, root), say, python_package=False)
    package.link(root)


def _install_interfaces(definitions: Definitions, say: Callable[[str], None], *, python_package: bool = True) -> None:
    if install_interfaces(definitions, python_package=python_package):
        say(f"compiled the messages of {definitions.package}")


def _register_launch_command() -> None:
    """Tell ros2cli of the launch verb the way every plugin is told of: an entry point of an installed distribution."""
    folder = HERE.site_packages / "embedded_ros-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: embedded-ros\nVersion: 1.0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text(LAUNCH_ENTRY_POINT, encoding="utf-8")


def state() -> dict[str, bool]:
    """What of the embedded ROS is in place, for `wm doctor`."""
    return {
        "ROS runtime (rclpy, Fast DDS)": "rclpy" in HERE.indexed("packages"),
        **({"ros2 command line and launch": tools.installed()} if tools.wanted() else {}),
        "messages of wm_ros": package.PACKAGE in HERE.indexed("rosidl_interfaces"),
        "environment file": (HERE.root / "ros_environment.sh").is_file(),
    }
