"""Candidates shared out among several who can score them, by how fast each was; whoever fails or is late loses its share to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_core.errors import PlanningError
from wm_core.planning.scores import Pass, Scores
from wm_core.planning.search import Clock
from wm_core.robot.rotation import Array

Rows = NDArray[np.int64]
Wait = Callable[[Iterable[Future[Any]], float], object]
"""Returns when one of the futures is done, or after so many seconds."""
ADAPTATION = 0.3  # share of the newest measurement in what is remembered of a source's speed


class UnavailableError(PlanningError):
    """No world model answers."""


def _wait(futures: Iterable[Future[Any]], seconds: float) -> None:
    wait(list(futures), timeout=max(0.0, seconds), return_when=FIRST_COMPLETED)


@dataclass
class _Source:
    """speed: candidates per second of each fidelity. A lost source has a `fault`; it is tried again at `retry` (s) by a `probe`."""

    speed: dict[Pass, float]
    fault: str = ""
    retry: float = 0.0
    probe: Future[Scores] | None = None


class Split:
    """Sources by name. `ask(name, actions (N, H, 7))` begins an evaluation; its future may be cancelled and may fail with any error.

    A source has `patience` seconds for its share, and `first` at the least for its first of a fidelity, before which it prepares what it
    imagines with. A lost one is tried with a copy of one candidate every `rest` seconds, for whose answer
    nobody waits, and gets shares again once it has answered.
    """

    def __init__(self, names: Sequence[str], clock: Clock, patience: float, rest: float, wait: Wait = _wait, first: float = 0.0) -> None:
        if not names or len(set(names)) != len(names):
            raise PlanningError("the sources of scores need names of their own", got=list(names), mend="servers")
        self._sources = {name: _Source({}) for name in names}
        self._clock, self._patience, self._rest, self._wait = clock, patience, rest, wait
        self._first = max(first, patience)

    @property
    def lost(self) -> dict[str, str]:
        """Why, of those who get no share now."""
        return {name: source.fault for name, source in self._sources.items() if source.fault}

    def scores(self, actions: Array, fidelity: Pass, ask: Callable[[str, Array], Future[Scores]]) -> Scores:
        """Of all candidates (N, H, 7), in their order."""
        self._reinstate(actions[:1], ask)
        goal, uncertainty = np.full(len(actions), np.nan), np.full(len(actions), np.nan)
        missing: Rows = np.arange(len(actions))
        failed = set[str]()
        while len(missing):
            shares = self._shares(missing, fidelity, self._askable(failed))
            asked = {name: ask(name, actions[rows]) for name, rows in shares.items()}
            for name, scores in self._gathered(asked, shares, fidelity):
                goal[shares[name]], uncertainty[shares[name]] = scores.goal, scores.uncertainty
            failed |= self.lost.keys() & shares.keys()
            missing = missing[np.isin(missing, [row for name in failed & shares.keys() for row in shares[name]])]
        return Scores(goal, uncertainty)

    def one[Answer](self, ask: Callable[[str], Future[Answer]], patience: float | None = None) -> Answer:
        """What needs no sharing: the answer of the first who gives one, within `patience` (s; None: that of a share)."""
        patience = self._patience if patience is None else patience
        failed = set[str]()
        while True:
            name = self._askable(failed)[0]
            future = ask(name)
            self._wait([future], patience)
            fault = self._fault(future, patience=patience)
            if not fault:
                self._sources[name].fault = ""
                return future.result()
            self._lose(name, future, fault)
            failed.add(name)

    def _askable(self, failed: set[str]) -> list[str]:
        """Those in whom nothing is wrong; else those who were not tried in this call."""
        left = [name for name in self._sources if name not in failed]
        if not left:
            told = "; ".join(f"{name}: {fault}" for name, fault in self.lost.items())
            raise UnavailableError("no world model answers", got=told, mend="are the world_model nodes running and active?")
        return [name for name in left if not self._sources[name].fault] or left

    def _shares(self, rows: Rows, fidelity: Pass, names: list[str]) -> dict[str, Rows]:
        """Neighbouring rows for each, as many as its speed earns, and at least one where there are enough: speeds change."""
        known = [self._sources[name].speed.get(fidelity, 0.0) for name in names]
        fallback = max(known) or 1.0
        speeds = np.array([speed or fallback for speed in known])
        spare = len(rows) - len(names)
        least = 1 if spare >= 0 else 0
        ends = np.round(np.cumsum(speeds) / speeds.sum() * (len(rows) - least * len(names))).astype(int)
        ends += least * np.arange(1, len(names) + 1)
        parts = np.split(rows, ends[:-1])
        return {name: part for name, part in zip(names, parts, strict=True) if len(part)}

    def _gathered(self, asked: dict[str, Future[Scores]], shares: dict[str, Rows], fidelity: Pass) -> Iterator[tuple[str, Scores]]:
        """Each answer in time; whoever gives none is lost."""
        begun = self._clock()
        pending = dict(asked)
        allowed = {name: self._patience if fidelity in self._sources[name].speed else self._first for name in asked}
        while pending:
            left = {name: begun + allowed[name] - self._clock() for name in pending}
            self._wait(pending.values(), min(left.values()))
            for name in [name for name, future in pending.items() if future.done() or left[name] <= 0.0]:
                future = pending.pop(name)
                fault = self._fault(future, len(shares[name]), allowed[name])
                if fault:
                    self._lose(name, future, fault)
                    continue
                self._sources[name].fault = ""
                self._measure(name, fidelity, len(shares[name]), self._clock() - begun)
                yield name, future.result()

    def _fault(self, future: Future[Any], count: int | None = None, patience: float | None = None) -> str:
        """What is wrong with an answer; empty: nothing."""
        if not future.done():
            return f"no answer within {self._patience if patience is None else patience:g} s"
        if future.cancelled():
            return "cancelled"
        error = future.exception()
        if error is not None:
            return str(error) or type(error).__name__
        return "" if count is None else _unfit(future.result(), count)

    def _lose(self, name: str, future: Future[Any], fault: str) -> None:
        future.cancel()
        source = self._sources[name]
        source.fault, source.retry = fault, self._clock() + self._rest

    def _reinstate(self, candidate: Array, ask: Callable[[str, Array], Future[Scores]]) -> None:
        """Try those who were lost, and take back who answered."""
        for name, source in self._sources.items():
            if source.probe is not None and source.probe.done():
                source.fault, source.probe = self._fault(source.probe, len(candidate)), None
            if source.fault and self._clock() >= source.retry:
                if source.probe is not None:
                    source.probe.cancel()
                source.probe, source.retry = ask(name, candidate), self._clock() + self._rest

    def _measure(self, name: str, fidelity: Pass, count: int, seconds: float) -> None:
        speeds, now = self._sources[name].speed, count / max(seconds, 1e-6)
        speeds[fidelity] = now if fidelity not in speeds else (1.0 - ADAPTATION) * speeds[fidelity] + ADAPTATION * now


def _unfit(scores: Scores, count: int) -> str:
    finite = bool(np.isfinite(scores.goal).all() and np.isfinite(scores.uncertainty).all())
    right = len(scores.goal) == len(scores.uncertainty) == count
    return "" if finite and right else f"{len(scores.goal)} scores for {count} candidates{'' if finite else ', not all finite'}"
