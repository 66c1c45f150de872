"""Protects the thread that plans: nothing that fails ends it, and whoever asked something of it gets an answer."""

from __future__ import annotations

import threading

from wm_core.errors import PlanningError
from wm_core.planning.planning_thread import PlanningThread


def test_the_thread_plans_when_woken_serves_what_is_asked_and_survives_what_fails() -> None:
    done, failed, ran = threading.Event(), list[Exception](), list[str]()
    faults = [PlanningError("no scores")]

    def improve() -> bool:
        if faults:
            raise faults.pop()
        return False

    def told(error: Exception) -> None:
        failed.append(error)
        thread.submit(lambda: (ran.append(threading.current_thread().name), done.set()))

    thread = PlanningThread(improve, told)
    thread.start()
    assert done.wait(20.0)
    assert isinstance(failed[0], PlanningError)
    assert ran == ["planning"]
    assert thread.stop(20.0)
    assert "planning" not in [other.name for other in threading.enumerate()]


def test_a_job_that_raises_is_told_of_and_the_next_one_runs() -> None:
    failed, done = list[Exception](), threading.Event()

    def broken() -> None:
        raise ValueError("no such thing")

    thread = PlanningThread(lambda: False, failed.append)
    thread.submit(broken)
    thread.submit(done.set)
    thread.start()
    assert done.wait(20.0)
    assert [str(error) for error in failed] == ["no such thing"]
    assert thread.stop(20.0)


def test_what_is_asked_while_the_thread_ends_is_still_answered() -> None:
    planning, may_end, answered = threading.Event(), threading.Event(), threading.Event()

    def improve() -> bool:
        planning.set()
        return may_end.wait(20.0)

    thread = PlanningThread(improve, lambda error: None)
    thread.start()
    assert planning.wait(20.0)
    thread.submit(answered.set)
    assert not thread.stop(0.0)
    may_end.set()
    assert thread.stop(20.0)
    assert answered.is_set()
