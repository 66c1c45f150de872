"""The thread that plans: what is asked of it comes first, then whatever the controller can improve."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

LONGEST_WAIT = 0.2  # s; a wake-up that was missed costs no more


class PlanningThread:
    """Runs jobs in turn and `improve` between them; `failed` is told of what `improve` raises, and the thread goes on."""

    def __init__(self, improve: Callable[[], bool], failed: Callable[[Exception], None]) -> None:
        self._improve, self._failed = improve, failed
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="planning", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """A job that raises nothing."""
        self._jobs.put(job)
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self, within: float) -> bool:
        """End after the plan that is being made; whether it did within so many seconds."""
        self._ended.set()
        self.wake()
        self._thread.join(within)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(LONGEST_WAIT)
            self._wake.clear()
            while not self._jobs.empty():
                self._jobs.get()()
            try:
                while not self._ended.is_set() and self._jobs.empty() and self._improve():
                    pass
            except Exception as error:  # noqa: BLE001 a plan that cannot be made ends the goal, never the thread
                self._failed(error)
