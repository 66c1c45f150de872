"""Work that is shared among processes ends when the one that shared it out does, killed or not."""

from __future__ import annotations

import multiprocessing
import os
import threading

STATUS = 1


def end_with_parent() -> None:
    """Called first thing in a process of multiprocessing: from then on it does not outlive its parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(STATUS)), name="end with parent", daemon=True).start()
