"""Nodes in processes of their own, and ROS domains that no other test uses."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_prefix

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
# The highest domains whose ports stay below those that Linux hands out to everybody.
DOMAINS = itertools.cycle(range(60, 101))


@dataclass(frozen=True)
class Domain:
    """A ROS domain, held by a lock on a file until this process ends or releases it."""

    number: int
    lock: int  # file descriptor

    def environment(self) -> dict[str, str]:
        """What a process needs to speak on this domain, without leaving the machine."""
        return {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.number),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_PYTHON_CHECK_FIELDS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def release(self) -> None:
        os.close(self.lock)


def claim_domain() -> Domain:
    """The next free domain in turn: a killed process stays visible on its own for some ten seconds."""
    for number in itertools.islice(DOMAINS, 41):
        lock = os.open(Path(tempfile.gettempdir()) / f"wm_ros_domain_{number}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return Domain(number, lock)
    raise RuntimeError("every ROS domain for tests is taken; end the other test runs")


def _hurry() -> None:
    """Be served before whatever else this machine does: an arm that is starved is stopped, rightly, and then nothing else is tested."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        # Where Linux shares time among sessions first, only this counts.
        Path("/proc/self/autogroup").write_text("-10", encoding="ascii")


class RosProcess:
    """One process in a session of its own; all that it says is kept in a file."""

    def __init__(self, command: Sequence[str | Path], domain: Domain, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("w") as out:
            self._popen = subprocess.Popen(
                [str(word) for word in command],
                env={**domain.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_hurry,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def mapped_files(self) -> str:
        """What the process has in its memory, as the kernel lists it."""
        return Path(f"/proc/{self.pid}/maps").read_text()

    def running(self) -> bool:
        return self._popen.poll() is None

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, within: float = 20.0) -> int:
        """The exit status; negative: the signal that ended it."""
        return self._popen.wait(within)

    def end(self, signum: int = signal.SIGINT) -> int:
        """End it politely, with force after a while; its exit status."""
        if self.running():
            os.kill(self.pid, signal.SIGCONT)
            self.send(signum)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self.wait()


def node_command(
    executable: str,
    *,
    node: str = "",
    namespace: str = "",
    parameters: dict[str, object] | None = None,
    remappings: dict[str, str] | None = None,
) -> list[str]:
    """The command line that starts a node of wm_ros, as launch does."""
    words = [str(Path(get_package_prefix("wm_ros")) / "lib" / "wm_ros" / executable), "--ros-args"]
    words += ["-r", f"__node:={node}"] if node else []
    words += ["-r", f"__ns:={namespace}"] if namespace else []
    for name, other in (remappings or {}).items():
        words += ["-r", f"{name}:={other}"]
    for name, value in (parameters or {}).items():
        words += ["-p", f"{name}:={yaml.safe_dump(value, default_flow_style=True).removesuffix('...\n').strip()}"]
    return words


def command_lines(pids: Sequence[int]) -> list[str]:
    """Command lines of those processes that still run (a zombie does not)."""
    found = []
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        found += [command] if command else []
    return found


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, children first."""
    try:
        children = [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]
    except OSError:
        return []
    return [*children, *itertools.chain.from_iterable(map(descendants, children))]
