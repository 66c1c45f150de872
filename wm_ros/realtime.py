"""Real-time scheduling of the calling thread, where the system allows it."""

from __future__ import annotations

import os


def request(priority: int) -> str:
    """Ask for SCHED_FIFO at `priority` (0: leave it); returns what is in force, for diagnostics."""
    if priority <= 0:
        return "normal (not asked for real time)"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return "normal (real time not permitted: give the user rtprio in /etc/security/limits.d)"
    except OSError as error:
        return f"normal (real time refused: {error})"
    return f"SCHED_FIFO {priority}"
