"""Protects the promise that `ros2 ...` works letter for letter, as a user of ./wm types it."""

from __future__ import annotations

import configparser
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from observer import Observer
from ros_process import Domain, RosProcess
from std_msgs.msg import String

from embedded_ros.prefix import HERE

ROOT = Path(__file__).resolve().parents[2]
WM = ROOT / "wm"
LAUNCH_FILE = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("who", default_value="world", description="whom to greet"),
        DeclareLaunchArgument("loud", choices=["yes", "no"], description="whether to shout"),
        ExecuteProcess(cmd=["echo", "hello", LaunchConfiguration("who")], output="screen"),
    ])
"""

Ros2 = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ros2(domain: Domain) -> Iterator[Ros2]:
    """`./wm ros2 WORDS` on the file's domain, to its end; the daemon that such commands ask is stopped after the tests."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [WM, "ros2", *words]
        return subprocess.run(command, env=domain.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    answer(run("daemon", "start"))
    yield run
    answer(run("daemon", "stop"))


@pytest.fixture(scope="module")
def companion(start: Callable[..., RosProcess], observer: Observer, ros2: Ros2) -> RosProcess:
    """A node that the daemon has found."""
    process = start(sys.executable, Path(__file__).parent / "service_node.py")
    observer.until(lambda: "/companion" in ros2("node", "list").stdout, "the companion node", 60)
    return process


@pytest.fixture
def launch_file(tmp_path: Path) -> Path:
    path = tmp_path / "greet.launch.py"
    path.write_text(LAUNCH_FILE)
    return path


def answer(result: subprocess.CompletedProcess[str]) -> str:
    """What a command said, which must have succeeded."""
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_pkg(ros2: Ros2) -> None:
    assert {"wm_ros", "rclpy", "std_msgs", "launch_ros"} <= set(answer(ros2("pkg", "list")).split())
    assert answer(ros2("pkg", "prefix", "wm_ros")).strip() == str(HERE.root)
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    scripts = dict(line.split(" = ") for line in parser["options.entry_points"]["console_scripts"].strip().splitlines())
    nodes = {f"wm_ros {name}" for name, target in scripts.items() if target.startswith("wm_ros.")}
    assert set(answer(ros2("pkg", "executables", "wm_ros")).splitlines()) == nodes


def test_topic_echo_and_info(ros2: Ros2, companion: RosProcess) -> None:
    assert "data: good day" in answer(ros2("topic", "echo", "--once", "/greeting", "std_msgs/msg/String"))
    assert "Publisher count: 1" in answer(ros2("topic", "info", "/greeting"))
    assert "/greeting" in answer(ros2("topic", "list")).split()


def test_topic_pub(ros2: Ros2, observer: Observer) -> None:
    heard = observer.hear(String, "/said")
    assert "publishing #1" in answer(ros2("topic", "pub", "--once", "-w", "1", "/said", "std_msgs/msg/String", "{data: hello}"))
    observer.until(lambda: heard, "the message published from the command line")
    assert heard[0].data == "hello"


def test_topic_hz(start: Callable[..., RosProcess], companion: RosProcess, observer: Observer) -> None:
    process = start(WM, "ros2", "topic", "hz", "/greeting", "--window", "10")
    line = observer.until(lambda: re.search(r"average rate: ([\d.]+)", process.output()), "a measured rate", 40)
    assert 0 < float(line[1]) < 1000
    process.end(signal.SIGINT)


def test_service(ros2: Ros2, companion: RosProcess) -> None:
    listed = answer(ros2("service", "list", "-t"))
    assert "/load_model [wm_ros/srv/LoadModel]" in listed
    said = answer(ros2("service", "call", "/load_model", "wm_ros/srv/LoadModel", "{checkpoint: here}"))
    assert "success=True, code=0, message='loaded here'" in said


def test_node(ros2: Ros2, companion: RosProcess) -> None:
    assert "/companion" in answer(ros2("node", "list")).split()
    told = answer(ros2("node", "info", "/companion"))
    assert "/greeting: std_msgs/msg/String" in told
    assert "/load_model: wm_ros/srv/LoadModel" in told


def test_param(ros2: Ros2, companion: RosProcess) -> None:
    assert "speed" in answer(ros2("param", "list", "/companion"))
    assert "Double value is: 0.25" in answer(ros2("param", "get", "/companion", "speed"))
    assert "largest speed, m/s" in answer(ros2("param", "describe", "/companion", "speed"))
    assert "Set parameter successful" in answer(ros2("param", "set", "/companion", "speed", "0.5"))
    assert "Double value is: 0.5" in answer(ros2("param", "get", "/companion", "speed"))
    refused = ros2("param", "set", "/companion", "speed", "9.0")
    assert "Setting parameter failed" in refused.stdout + refused.stderr


def test_run_starts_the_executable_of_a_package(ros2: Ros2) -> None:
    listed = answer(ros2("run", "wm_ros", "demo", "--help"))
    assert "usage: demo" in listed


def test_run_of_an_executable_that_is_not_there(ros2: Ros2) -> None:
    result = ros2("run", "wm_ros", "nothing")
    assert result.returncode == 1
    assert "No executable found" in result.stderr


def test_launch_runs_a_file_with_its_arguments(ros2: Ros2, launch_file: Path) -> None:
    result = ros2("launch", launch_file, "who:=all of you", "loud:=no")
    assert result.returncode == 0
    assert "hello all of you" in result.stdout + result.stderr


def test_launch_shows_and_prints(ros2: Ros2, launch_file: Path) -> None:
    shown = answer(ros2("launch", launch_file, "--show-args"))
    assert re.search(r"'who':\s+whom to greet\s+\(default: 'world'\)", shown)
    assert re.search(r"'loud':\s+whether to shout. Valid choices are: \['yes', 'no'\]\s+\(default: required\)", shown)
    assert "ExecuteProcess" in answer(ros2("launch", "--print", launch_file, "loud:=no"))


def test_launch_of_our_package_shows_its_arguments(ros2: Ros2) -> None:
    shown = answer(ros2("launch", "wm_ros", "mpc_arm.launch.py", "--show-args"))
    for name in ("sim", "namespace", "robot", "config"):
        assert f"'{name}':" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("wm_ros", "mpc_arm.lunch.py"), "no launch file 'mpc_arm.lunch.py' in package 'wm_ros'; it has: mpc_arm.launch.py"),
        (("no_such_package", "x.launch.py"), "package 'no_such_package' not found; see `ros2 pkg list`"),
        (("wm_ros",), "'wm_ros' is not a launch file; give a package and a launch file name"),
        (("wm_ros", "mpc_arm.launch.py", "sim=false"), "malformed launch argument 'sim=false', expected 'name:=value'"),
    ],
)
def test_launch_says_what_is_wrong(ros2: Ros2, words: tuple[str, ...], message: str) -> None:
    result = ros2("launch", *words)
    assert result.returncode == 1
    assert message in result.stderr


def test_launch_names_a_required_argument_that_is_missing(ros2: Ros2, launch_file: Path) -> None:
    result = ros2("launch", launch_file)
    assert result.returncode == 1
    assert "loud" in result.stdout + result.stderr


def test_wm_passes_on_the_exit_status(domain: Domain) -> None:
    assert subprocess.run([WM, "exec", "sh", "-c", "exit 5"], env=domain.environment(), check=False).returncode == 5
