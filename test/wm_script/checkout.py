"""A copy of the tree with a made-up machine around it: only chosen commands on PATH, a home of its own, Pythons that only take notes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("wm", "constraints.txt", "requirements-system-ros.txt", "pyproject.toml", "setup.cfg", "setup.py", "README.md")
FOLDERS = ("embedded_ros", "msg", "srv", "launch", "config", "wm_core", "wm_ros")
# What any Debian has; no Python, no compiler, no uv.
COMMANDS = (
    *("bash", "cat", "cp", "cut", "df", "dirname", "env", "flock", "head", "ls", "mkdir", "readlink", "rm", "sed", "sh", "sha256sum"),
    *("sort", "tail", "touch", "tr", "uname"),
)
# Takes down what it is asked, and leaves what the real one would leave: an environment, uv, the shell file.
NOTING_PYTHON = """#!/bin/sh
printf 'python %s\\n' "$*" >>"$NOTES"
case "$*" in
    "-m venv "*)
        [ -z "${GATE:-}" ] || cat "$GATE" >/dev/null
        for folder; do :; done
        mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
    *" uv")
        cp "$(dirname "$0")/python" "$(dirname "$0")/uv" ;;
    "-m embedded_ros install")
        echo "export PATH=\\"$PWD/.venv/bin:\\$PATH\\" ROS_IS=embedded" >.venv/ros_environment.sh ;;
    *purelib*)
        cd "$(dirname "$0")/.." && pwd ;;
esac
case "$*" in "${FAILS:-nothing fails}"*) echo "made to fail" >&2; exit 1 ;; esac
"""


class Checkout:
    """A clone of the repository in `folder`/`name` on a machine of its own."""

    def __init__(self, folder: Path, name: str = "clone") -> None:
        self.root = folder / name
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        self.bin = folder / "bin"
        self.notes = folder / "notes.txt"
        for made in (self.root, self.home, self.temporary, self.bin):
            made.mkdir(parents=True)
        for part in PARTS:
            shutil.copy(ROOT / part, self.root / part)
        for part in FOLDERS:
            shutil.copytree(ROOT / part, self.root / part, ignore=shutil.ignore_patterns("__pycache__"))
        for command in COMMANDS:
            found = shutil.which(command)
            assert found, f"this machine lacks {command}"
            self.link(command, found)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def link(self, command: str, target: str | Path) -> None:
        """Put a command on PATH."""
        (self.bin / command).symlink_to(target)

    def write_command(self, command: str, text: str) -> None:
        """Put a script on PATH."""
        (self.bin / command).unlink(missing_ok=True)
        (self.bin / command).write_text(text)
        (self.bin / command).chmod(0o755)

    def environment(self, **variables: str) -> dict[str, str]:
        made = {"PATH": str(self.bin), "HOME": str(self.home), "TMPDIR": str(self.temporary), "NOTES": str(self.notes), "LANG": "C.UTF-8"}
        return {**made, "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def wm(self, *words: str, at: Path | None = None, through: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ./wm to its end, in the working directory `at`, called as `through`."""
        command = [str(through or self.root / "wm"), *words]
        env = self.environment(**variables)
        return subprocess.run(
            command,
            env=env,
            cwd=at or self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start_wm(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start ./wm and go on."""
        return subprocess.Popen(
            [str(self.root / "wm"), *words], env=self.environment(**variables), cwd=self.root, stderr=subprocess.PIPE, text=True
        )

    def noted(self, about: str = "") -> list[str]:
        """What the noting Python was asked, in order; only what contains `about`. Each look takes the notes away."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return [line for line in lines if about in line]


def files_below(folder: Path) -> set[str]:
    """Every file and link below a folder, by relative path."""
    return {os.path.relpath(Path(top) / name, folder) for top, _, names in os.walk(folder) for name in names}
