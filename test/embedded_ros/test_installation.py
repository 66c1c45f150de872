"""Protects the pieces of the installation: scripts that start anywhere, signals that reach a launch, errors that say what to install."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embedded_ros import compiler, package, prefix
from embedded_ros.errors import EmbeddedRosError
from embedded_ros.prefix import HERE

ROOT = Path(__file__).resolve().parents[2]


def test_a_script_starts_where_its_python_has_spaces_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "it's a long way" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    prefix.write_script(python.parent / "say", "platform", "python_version")
    result = subprocess.run([python.parent / "say", "ignored word"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, f"{sys.version.split()[0]}\n")


def test_the_executables_are_exactly_those_of_setup_cfg() -> None:
    listed = package.executables(ROOT)
    nodes = {name for name, (module, _) in listed.items() if module.startswith("wm_ros.")}
    assert {path.name for path in (HERE.libraries / "wm_ros").iterdir()} == nodes
    assert all((HERE.root / "bin" / name).is_file() for name in set(listed) - nodes)


@pytest.mark.parametrize("folder", package.SHARED_FOLDERS)
def test_shared_files_are_links_to_the_source(folder: str) -> None:
    source = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    target = HERE.share("wm_ros")
    assert {path.relative_to(target) for path in (target / folder).rglob("*") if path.is_file()} == source
    assert all((target / path).resolve() == ROOT / path for path in source)


def test_without_a_compiler_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(EmbeddedRosError, match=r"sudo apt install g\+\+"):
        compiler.find()


def test_the_compiler_that_cxx_names_may_carry_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{sys.executable} -O3")
    assert compiler.find() == [sys.executable, "-O3"]


def test_what_the_compiler_says_is_passed_on(tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    source.write_text("int f( { }\n")
    with pytest.raises(EmbeddedRosError, match=r"broken\.c"):
        compiler.build([compiler.Library(tmp_path / "libbroken.so", [[source]], [], [])], tmp_path, [])


WAITING = """
import signal, sys
def stop(signum, frame):
    print("stopped by", signum, flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_polite_signal_shuts_a_launch_down_in_order_even_one_begun_deaf(signum: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded_ros.foreground", sys.executable, "-c", WAITING],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell does to what it starts in the background
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    assert process.stdout.read() == f"stopped by {int(signal.SIGINT)}\n"
    assert process.wait(20) == 7


def test_a_launch_that_will_not_end_is_killed_by_the_third_signal() -> None:
    deaf = "import signal,sys\nfor s in (2, 15): signal.signal(s, lambda *_: print('no', flush=True))\nprint('ready', flush=True)\n"
    loop = f"{deaf}while True: signal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded_ros.foreground", sys.executable, "-c", loop], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "no\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 128 + signal.SIGKILL


def test_the_environment_file_keeps_what_the_user_set_and_can_be_read_twice() -> None:
    script = '. "$1"; . "$1"; echo "$ROS_AUTOMATIC_DISCOVERY_RANGE|$AMENT_PREFIX_PATH|$ROS_LOG_DIR"'
    for own, expected in (
        ({}, f"LOCALHOST|{HERE.root}|{HERE.root}/log"),
        (
            {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "AMENT_PREFIX_PATH": "/mine", "ROS_LOG_DIR": "/logs"},
            f"SUBNET|{HERE.root}:/mine|/logs",
        ),
    ):
        environment = {"PATH": os.environ["PATH"], **own}
        result = subprocess.run(
            ["sh", "-c", script, "sh", HERE.root / "ros_environment.sh"], env=environment, capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == expected
