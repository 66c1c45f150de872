"""Protects how ./wm makes its environment: once, whole, in the right order, for the right ROS, and nowhere but in the repository."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from checkout import NOTING_PYTHON, ROOT, Checkout, files_below

INSTALLS = re.compile(r"pip install|-m venv|embedded_ros install")


def installing(notes: list[str]) -> list[str]:
    return [line for line in notes if INSTALLS.search(line)]


def steps(notes: list[str]) -> list[str]:
    """The installing steps, each by its first telling words."""
    names = {"-m venv": "venv", "constraints.txt uv": "uv", "--requirement": "packages", "embedded_ros install": "ros"}
    return [next(name for words, name in names.items() if words in line) for line in installing(notes)]


def test_the_first_run_makes_everything_in_order(noting: Checkout) -> None:
    result = noting.wm("exec", "sh", "-c", "echo $ROS_IS $VIRTUAL_ENV")
    assert (result.returncode, result.stdout) == (0, f"embedded {noting.venv}\n")
    assert steps(noting.noted()) == ["venv", "uv", "packages", "ros"]
    assert "ready after" in result.stderr


def test_the_second_run_installs_nothing_and_is_silent(noting: Checkout) -> None:
    noting.wm("setup")
    noting.noted()
    result = noting.wm("setup")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert noting.noted() == []


def test_a_changed_message_needs_no_package_index(noting: Checkout) -> None:
    noting.wm("setup")
    noting.noted()
    (noting.root / "msg" / "New.msg").write_text("bool new\n")
    assert noting.wm("setup").returncode == 0
    assert steps(noting.noted()) == ["ros"]


def test_a_changed_list_of_packages_is_installed_into_the_environment_that_is_there(noting: Checkout) -> None:
    noting.wm("setup")
    noting.noted()
    with (noting.root / "constraints.txt").open("a") as constraints:
        constraints.write("something==1.0\n")
    assert noting.wm("setup").returncode == 0
    assert steps(noting.noted()) == ["packages", "ros"]


def break_python(venv: Path) -> None:
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(venv / "gone")


def leave_an_empty_folder(venv: Path) -> None:
    shutil.rmtree(venv)
    venv.mkdir()


def forget_the_end(venv: Path) -> None:
    (venv / "wm_stamp").unlink()


@pytest.mark.parametrize("damage", [break_python, leave_an_empty_folder, forget_the_end])
def test_a_half_made_environment_is_made_anew(noting: Checkout, damage: object) -> None:
    noting.wm("setup")
    noting.noted()
    (noting.venv / "leftover").touch()
    assert callable(damage)
    damage(noting.venv)
    result = noting.wm("setup")
    assert result.returncode == 0
    assert "making it anew" in result.stderr
    assert steps(noting.noted()) == ["venv", "uv", "packages", "ros"]
    assert not (noting.venv / "leftover").exists()


@pytest.mark.parametrize("step", ["-m venv", "-m pip install --quiet", "-m embedded_ros install"])
def test_a_step_that_fails_is_told_and_the_next_run_begins_anew(noting: Checkout, step: str) -> None:
    result = noting.wm("setup", FAILS=step)
    assert result.returncode == 1
    assert not (noting.venv / "wm_stamp").exists()
    noting.noted()
    assert noting.wm("setup").returncode == 0
    assert steps(noting.noted()) == ["venv", "uv", "packages", "ros"]


def test_a_clone_that_was_moved_gets_a_new_environment(noting: Checkout) -> None:
    noting.wm("setup")
    noting.noted()
    noting.root = noting.root.rename(noting.root.with_name("moved"))
    assert "was moved" in noting.wm("setup").stderr
    assert steps(noting.noted())[0] == "venv"


def test_two_at_once_make_one_environment(noting: Checkout, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = noting.start_wm("setup", GATE=str(gate))
    with gate.open("w"):  # opens as soon as the first is in the midst of it
        second = noting.start_wm("setup")
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert steps(noting.noted()) == ["venv", "uv", "packages", "ros"]


def test_nothing_is_written_outside_the_repository(noting: Checkout) -> None:
    before = files_below(noting.root)
    noting.wm("setup")
    noting.wm("exec", "true")
    assert not files_below(noting.home) | files_below(noting.temporary)
    assert {path.split(os.sep)[0] for path in files_below(noting.root) - before} == {".venv"}


@pytest.mark.parametrize("name", ["clone", "a folder with spaces, it's ünusual"])
def test_it_works_from_any_directory_and_through_a_link(tmp_path: Path, name: str) -> None:
    clone = Checkout(tmp_path, name)
    clone.write_command("python3.12", NOTING_PYTHON)
    link = tmp_path / "elsewhere" / "wm"
    link.parent.mkdir()
    link.symlink_to(clone.root / "wm")
    result = clone.wm("exec", "sh", "-c", 'echo "$VIRTUAL_ENV"; pwd', at=link.parent, through=link)
    assert (result.returncode, result.stdout) == (0, f"{clone.venv}\n{link.parent}\n")


def test_a_system_ros_gets_only_what_its_packages_lack(noting: Checkout) -> None:
    result = noting.wm("exec", "sh", "-c", "echo ${ROS_IS:-system}", ROS_DISTRO="jazzy", WM_PYTHON=str(noting.bin / "python3.12"))
    assert (result.returncode, result.stdout) == (0, "system\n")
    venv, packages = installing(noting.noted())
    assert "--system-site-packages" in venv
    assert packages.endswith(f"--requirement {noting.root}/requirements-system-ros.txt")
    assert (noting.venv / "wm_ros.pth").read_text() == f"{noting.root}\n"


def test_an_environment_of_the_other_ros_is_made_anew(noting: Checkout) -> None:
    noting.wm("setup")
    noting.noted()
    result = noting.wm("setup", ROS_DISTRO="jazzy", WM_PYTHON=str(noting.bin / "python3.12"))
    assert "of another Python or ROS" in result.stderr
    assert steps(noting.noted()) == ["venv", "packages"]


def test_the_list_for_a_system_ros_agrees_with_the_pins_and_the_documentation() -> None:
    lines = [line.partition("#")[0].strip().lower() for line in (ROOT / "requirements-system-ros.txt").read_text().splitlines()]
    wanted = set(filter(None, lines))
    assert "numpy<2" in wanted
    assert wanted - {"numpy<2"} <= set((ROOT / "constraints.txt").read_text().lower().splitlines())
    documentation = (ROOT / "docs" / "system_ros.md").read_text()
    assert "pip install -r src/wm_ros/requirements-system-ros.txt" in documentation
    assert not re.search(r"(mujoco|daqp)==", documentation), "the page repeats a version of the list"
