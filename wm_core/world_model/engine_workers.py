"""Imagining by several processes of one thread, among which the samples are split; the share of one that dies is taken over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from wm_core.errors import WorldModelError
from wm_core.world_model.engine import PER_SAMPLE, Feed, Graphs
from wm_core.world_model.imagination_graph import Shape

PATIENCE = 30.0  # s; the first answer of a graph takes its optimisation along
MODULE = "wm_core.world_model.engine_worker"


@dataclass(eq=False)
class _Worker:
    name: str
    process: subprocess.Popen[bytes]
    link: Connection
    knows: set[Shape] = field(default_factory=set)


class SplitEngine:
    """Owns its processes: they end with `close`, and by themselves when this process ends."""

    def __init__(self, graphs: Graphs, workers: int, patience: float = PATIENCE) -> None:
        """A worker that does not answer for `patience` seconds counts as dead, and is ended."""
        self._graphs, self._patience = graphs, patience
        self._written: dict[Shape, bytes] = {}
        self.lost: list[str] = []  # the workers that died, by name
        self._workers = [_started(f"imagining {number + 1} of {workers}") for number in range(workers)]

    @property
    def processes(self) -> dict[str, int]:
        """Those that live: process ids by name."""
        return {worker.name: worker.process.pid for worker in self._workers}

    def frames(self, shape: Shape, feed: Feed) -> NDArray[np.float32]:
        """Normalised frames (N, H, P, D)."""
        count = len(feed["actions"])
        waiting = [share for share in _shares(count, len(self._workers)) if share.stop > share.start]
        busy: dict[_Worker, slice] = {}
        done: dict[int, NDArray[np.float32]] = {}
        refused = ""
        while waiting or busy:
            for worker in [worker for worker in self._workers if worker not in busy][: len(waiting)]:
                share = waiting.pop()
                busy[worker] = share
                self._ask(worker, shape, _part(feed, share))
            if not busy:
                raise WorldModelError("all processes that imagine have died", got=", ".join(self.lost), mend="configure the node again")
            ready = wait([worker.link for worker in busy], self._patience)
            for worker in [worker for worker in busy if worker.link in ready or not ready]:
                share = busy.pop(worker)
                answer = self._answer(worker) if ready else None
                if answer is None:
                    self._lose(worker)
                    waiting.append(share)
                elif isinstance(answer, str):
                    refused = answer
                else:
                    done[share.start] = answer
        if refused:  # not before every answer is there: the next ones are to other questions
            raise WorldModelError("a process could not imagine", got=refused, mend="take the engine torch")
        return np.concatenate([done[start] for start in sorted(done)])

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.link.close()
        for worker in self._workers:
            _ended(worker.process)
        self._workers = []

    def _ask(self, worker: _Worker, shape: Shape, feed: Feed) -> None:
        """One that is dead shows when its answer is asked for."""
        if shape not in self._written:
            self._written[shape] = self._graphs.of(shape)
        graph = b"" if shape in worker.knows else self._written[shape]
        worker.knows.add(shape)
        try:
            for message in (repr(shape).encode(), graph, save(dict(feed))):
                worker.link.send_bytes(message)
        except OSError:
            worker.process.kill()

    def _answer(self, worker: _Worker) -> NDArray[np.float32] | str | None:
        """Frames, or why there are none; None from one that has died."""
        try:
            error, frames = worker.link.recv_bytes(), worker.link.recv_bytes()
        except (EOFError, OSError):
            return None
        return error.decode() if error else load(frames)["frames"]

    def _lose(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self.lost.append(worker.name)
        worker.link.close()
        worker.process.kill()
        worker.process.wait()


def _shares(count: int, workers: int) -> list[slice]:
    edges = [round(count * number / max(workers, 1)) for number in range(workers + 1)]
    return [slice(first, last) for first, last in pairwise(edges)] or [slice(0, count)]


def _part(feed: Feed, share: slice) -> Mapping[str, NDArray[np.float32]]:
    return {name: np.ascontiguousarray(value[share]) if name in PER_SAMPLE else value for name, value in feed.items()}


def _started(name: str) -> _Worker:
    ours, theirs = Pipe()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", MODULE, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
    theirs.close()
    return _Worker(name, process, ours)


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
