"""The forgetting monitor: what is measured while a model learns something new, and what follows from it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from wm_core.training.errors import TrainingError

FILE = "monitor.json"


@dataclass(frozen=True)
class Measured:
    """Mean squared errors of imagined frames on held-out clips after `step` steps; step 0 is the checkpoint that was begun with."""

    step: int
    new: float
    old: float


@dataclass(frozen=True)
class Watch:
    """All that was measured, in order of the steps, of a training begun with weights of hash `start`."""

    start: str
    worsening: float
    measured: tuple[Measured, ...] = ()

    def and_then(self, one: Measured) -> Watch:
        return Watch(self.start, self.worsening, (*self.measured, one))

    def forgets(self, one: Measured) -> bool:
        """Whether the error on old clips, or one that is no number, is above its bound."""
        return not one.old <= self.worsening * self.measured[0].old

    @property
    def stopped(self) -> bool:
        """Whether training must not go on."""
        return bool(self.measured) and self.forgets(self.measured[-1])

    @property
    def best(self) -> Measured:
        """Of those that do not forget, the one that errs least on new clips."""
        return min((one for one in self.measured if not self.forgets(one)), key=lambda one: one.new)


def write(folder: Path, watch: Watch) -> None:
    """Whole or not at all."""
    path = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{FILE}.growing")
    growing.write_text(json.dumps(asdict(watch), indent=1), encoding="utf-8")
    os.replace(growing, path)


def read(folder: Path, start: str, worsening: float) -> Watch:
    """What was measured in this folder until now, or nothing yet; another beginning or another bound is refused."""
    path = folder / FILE
    if not path.exists():
        return Watch(start, worsening)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        measured = tuple(Measured(int(one["step"]), float(one["new"]), float(one["old"])) for one in record["measured"])
        found = Watch(str(record["start"]), float(record["worsening"]), measured)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} cannot be read", got=repr(error), mend="fine-tune into a new --out") from error
    _require_same("checkpoint to begin with", found.start[:12], start[:12], folder)
    _require_same("bound monitor.worsening", found.worsening, worsening, folder)
    return found


def _require_same(what: str, before: object, now: object, folder: Path) -> None:
    if before != now:
        mend = "restore it, or give another --out"
        raise TrainingError(f"{folder} holds a fine-tuning with another {what}", got=now, allowed=str(before), mend=mend)
