"""The thread that plans: what is asked of it comes first, then whatever the controller can improve."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

LONGEST_WAIT = 0.2  # s; a wake-up that was missed costs no more


class PlanningThread:
    """Runs jobs in turn and `improve` between them; `failed` is told of what either raises, and the thread goes on."""

    def __init__(self, improve: Callable[[], bool], failed: Callable[[Exception], None]) -> None:
        self._improve, self._failed = improve, failed
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="planning", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """A job to be done between two plans, even if the thread is asked to end meanwhile: somebody waits for its answer."""
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
            self._do_jobs()
            self._guarded(self._plan)
        self._do_jobs()

    def _do_jobs(self) -> None:
        while not self._jobs.empty():
            self._guarded(self._jobs.get())

    def _plan(self) -> None:
        while not self._ended.is_set() and self._jobs.empty() and self._improve():
            pass

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 what cannot be done ends the goal, never the thread
            self._failed(error)
