"""Run a command so that any polite signal ends it whole: what `ros2 launch` needs when no terminal is in charge of it.

A launch started in the background ignores SIGINT, and SIGTERM makes it orphan its nodes. So the command runs in a session of its own
with SIGINT restored, and SIGINT, SIGTERM or SIGHUP to this process reaches it as the SIGINT that shuts it down in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(command: list[str]) -> int:
    """Run `command` to its end and return its exit status; a second signal terminates, a third kills."""
    # A signal that comes before the handlers stand would end this process and leave the command behind: it waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_hear_signals)
    escalation = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]

    def forward(_signum: int, _frame: FrameType | None) -> None:
        chosen = escalation.pop(0) if len(escalation) > 1 else escalation[0]
        if child.poll() is None:
            # Only the first goes to the launch alone: it then ends its nodes itself, in order.
            (os.kill if chosen == signal.SIGINT else os.killpg)(child.pid, chosen)

    for signum in POLITE:
        signal.signal(signum, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)
    status = child.wait()
    return 128 - status if status < 0 else status


def _hear_signals() -> None:
    for signum in POLITE:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
