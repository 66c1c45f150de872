"""Metrics of a training: one JSON object per line, and the same in TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from wm_core.training.errors import TrainingError

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends to folder/metrics.jsonl; what was written after step `resumed` belongs to a run that never was, and is dropped."""

    def __init__(self, folder: Path, resumed: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._keep_until(resumed)
            self._file = self._path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed + 1 if resumed else None)
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        self._file.close()
        self._board.close()

    def _keep_until(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = [line for line in self._path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        growing = self._path.with_suffix(".partial")
        growing.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(growing, self._path)

    def _unwritable(self, error: OSError) -> TrainingError:
        return TrainingError("the metrics cannot be written", got=error, mend=f"free space or rights for {self._path}")


def read(folder: Path) -> list[dict[str, float]]:
    """All lines of a training's metrics."""
    return [json.loads(line) for line in (folder / FILE).read_text(encoding="utf-8").splitlines()]


def _step_of(line: str) -> float:
    """The step of a line; one that a kill cut short counts as later than any."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
