"""Work that is shared among processes ends when the one that shared it out does, killed or not."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

STATUS = 1


def end_with_parent() -> None:
    """Called first thing in a process of multiprocessing: from then on it does not outlive its parent."""
    threading.Thread(target=_end, args=(multiprocessing.parent_process(),), name="end with parent", daemon=True).start()


def _end(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(STATUS)
