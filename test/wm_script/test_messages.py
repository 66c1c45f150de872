"""Protects what ./wm says when a machine lacks something: what is wrong and what to do, before anything is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkout import ROOT, Checkout

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nobody listens
OFFLINE = {
    "PIP_INDEX_URL": NOWHERE,
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_RETRIES": "0",
    "UV_DEFAULT_INDEX": NOWHERE,
    "UV_HTTP_RETRIES": "0",
    "UV_NO_CONFIG": "1",
}


def refused(result: object, *words: str) -> None:
    """Exit status 1, and a message that names what happened and what to do."""
    status, said = getattr(result, "returncode", None), getattr(result, "stderr", "")
    assert status == 1, said
    assert "what to do:" in said
    for word in words:
        assert word in said


def test_without_a_python_312(bare: Checkout) -> None:
    refused(bare.wm("demo"), "no Python 3.12", "python3.12-venv", "pyenv install 3.12", "uv python install 3.12", "WM_PYTHON")
    assert not bare.venv.exists()


def test_another_python_is_not_taken(bare: Checkout) -> None:
    for name in ("python3.12", "python3"):
        bare.write_command(name, "#!/bin/sh\nexit 1\n")
    refused(bare.wm("demo"), "no Python 3.12")


def test_a_python_that_was_named_but_is_none(bare: Checkout) -> None:
    refused(bare.wm("demo", WM_PYTHON="/nowhere/python"), "/nowhere/python", "WM_PYTHON")


@pytest.mark.parametrize("place", [".pyenv/versions/3.12.1/bin/python", ".local/share/uv/python/cpython-3.12.1-linux/bin/python3.12"])
def test_a_python_of_pyenv_or_uv_is_found(noting: Checkout, place: str) -> None:
    target = noting.home / place
    target.parent.mkdir(parents=True)
    shutil.move(noting.bin / "python3.12", target)
    result = noting.wm("setup")
    assert result.returncode == 0
    assert f"making .venv with {target}" in result.stderr


def test_without_a_compiler_nothing_is_downloaded(real: Checkout) -> None:
    refused(real.wm("demo"), "no C++ compiler", "sudo apt install g++")
    assert not real.venv.exists()


def test_a_compiler_that_was_named_but_is_none(real: Checkout) -> None:
    refused(real.wm("demo", CXX="/nowhere/c++ -O3"), "CXX=/nowhere/c++ -O3", "unset CXX")


def test_without_a_network_uv_cannot_be_installed(real: Checkout) -> None:
    real.write_command("c++", "#!/bin/sh\n")
    refused(real.wm("setup", **OFFLINE), "uv could not be installed", "check the network")


def test_without_a_network_packages_cannot_be_installed(real: Checkout) -> None:
    real.write_command("c++", "#!/bin/sh\n")
    real.link("uv", ROOT / ".venv" / "bin" / "uv")
    refused(real.wm("setup", **OFFLINE), "packages could not be installed", "check the network")


@pytest.mark.parametrize(
    ("system", "machine", "words"),
    [
        ("Darwin", "arm64", ("wm_ros runs on Linux", "Darwin arm64", "Ubuntu 22.04")),
        ("Linux", "aarch64", ("x86-64", "Linux aarch64", "docs/system_ros.md")),
    ],
)
@pytest.mark.parametrize("verb", ["demo", "doctor"])
def test_an_unsupported_platform(noting: Checkout, system: str, machine: str, words: tuple[str, ...], verb: str) -> None:
    noting.write_command("uname", f'#!/bin/sh\n[ "$1" = -s ] && echo {system} || echo {machine}\n')
    refused(noting.wm(verb), *words)
    assert not noting.venv.exists()


def test_another_machine_with_a_system_ros_is_supported(noting: Checkout) -> None:
    noting.write_command("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    assert noting.wm("setup", ROS_DISTRO="jazzy", WM_PYTHON=str(noting.bin / "python3.12")).returncode == 0


def test_a_ros_of_another_release(noting: Checkout) -> None:
    refused(noting.wm("demo", ROS_DISTRO="humble"), "Jazzy or Kilted", "humble", "unset ROS_DISTRO")


@pytest.mark.parametrize("name", ["semi;colon", "co:lon", "dol$lar"])
def test_a_path_that_search_paths_cannot_carry(tmp_path: Path, name: str) -> None:
    refused(Checkout(tmp_path, name).wm("demo"), name, "move it")


def test_without_words_it_says_how_it_is_used(bare: Checkout) -> None:
    result = bare.wm()
    assert result.returncode == 2
    assert "./wm demo" in result.stderr
    assert bare.wm("--help").stdout == result.stderr


def test_ros2_that_was_left_out(noting: Checkout) -> None:
    refused(noting.wm("ros2", "topic", "list", WM_ROS_TOOLS="0"), "left out", "without WM_ROS_TOOLS=0")


def test_doctor_on_a_bare_machine(bare: Checkout) -> None:
    result = bare.wm("doctor")
    assert result.returncode == 1
    assert "MISSING (sudo apt install python3.12-venv" in result.stdout
    assert "not made or outdated" in result.stdout


def test_doctor_without_a_compiler(real: Checkout) -> None:
    result = real.wm("doctor")
    assert result.returncode == 1
    assert "no C++ compiler" in result.stdout
    assert "sudo apt install g++" in result.stdout
    assert not real.venv.exists()


def test_doctor_where_everything_is_there(noting: Checkout) -> None:
    noting.wm("setup")
    result = noting.wm("doctor")
    assert result.returncode == 0
    assert f"{noting.venv} is up to date" in result.stdout


def test_doctor_passes_on_what_the_embedded_ros_lacks(noting: Checkout) -> None:
    noting.wm("setup")
    assert noting.wm("doctor", FAILS="-m embedded_ros check").returncode == 1


def test_doctor_takes_no_arguments(bare: Checkout) -> None:
    refused(bare.wm("doctor", "everything"), "everything", "./wm doctor")
