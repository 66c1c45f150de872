"""Finished trials on disk, one file each, so that an evaluation that was killed goes on where it was."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.evaluation.control import Trial
from wm_core.evaluation.errors import EvaluationError

SETTINGS = "settings.json"
ARRAYS = ("errors", "path", "planning", "latency")


@dataclass(frozen=True)
class Place:
    """Which trials: the scene, the kind of task and the policy."""

    scene: str
    kind: str
    policy: str


@dataclass(frozen=True)
class TrialRecords:
    """The trials below one folder; several processes may write different ones."""

    folder: Path

    def begin(self, settings: dict[str, Any]) -> None:
        """Go on with these settings, on which every trial depends; trials of other ones are not mixed with them."""
        path, told = self.folder / SETTINGS, json.loads(json.dumps(settings))
        if not path.exists():
            write(path, told)
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(name for name in {*before, *told} if before.get(name) != told.get(name))
        if other:
            got = f"other {', '.join(other)}"
            raise EvaluationError(f"{self.folder} holds trials of another evaluation", got=got, mend="give another --out, or remove it")

    def path(self, place: Place, index: int, ending: str = "json") -> Path:
        """Where a trial is, or its strip."""
        return self.folder / "trials" / place.scene / place.kind / place.policy / f"{index:04d}.{ending}"

    def there(self, place: Place, index: int) -> bool:
        """Whether the trial is finished."""
        return self.path(place, index).is_file()

    def save(self, place: Place, trial: Trial) -> None:
        """Keep a trial, without its frames."""
        arrays = {name: np.round(getattr(trial, name), 6).tolist() for name in ARRAYS}
        write(self.path(place, trial.index), {"index": trial.index, "success": trial.success, "missed": trial.missed} | arrays)

    def load(self, place: Place, count: int) -> list[Trial]:
        """The finished ones of the first `count`."""
        found = [json.loads(self.path(place, index).read_text("utf-8")) for index in range(count) if self.there(place, index)]
        return [_trial(one) for one in found]


def _trial(told: dict[str, Any]) -> Trial:
    errors, path, planning, latency = (np.array(told[name], dtype=np.float64) for name in ARRAYS)
    return Trial(told["index"], told["success"], errors, path, planning, told["missed"], latency=latency)


def write(path: Path, record: object) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{path.name}.{os.getpid()}")
    growing.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(growing, path)
