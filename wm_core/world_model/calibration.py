"""How far a model's futures may be off: bands that an evaluation measured, kept beside the weights they hold for."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wm_core.errors import CheckpointError

FILE = "calibration.json"
SCORES = ("error", "error / spread")


@dataclass(frozen=True)
class Calibration:
    """Split-conformal bands per horizon h = 1 .. H of the mean of some seeds, in RMS of normalised latents.

    They hold for futures imagined on this grid with so many steps and seeds after so many context frames. score "error": the band is the
    quantile itself; "error / spread": it is the quantile times (spread + floor), where the spread is the RMS deviation between seeds.
    `spread` is the same quantile of the spread itself: above it, a future is unlike those that the bands were measured on.
    """

    weights: str
    grid: tuple[int, int]
    steps: int
    seeds: int
    context: int
    coverage: float
    score: str
    quantile: tuple[float, ...]
    floor: tuple[float, ...]
    spread: tuple[float, ...]
    clips: int
    episodes: int

    def band(self, spread: Tensor) -> Tensor:
        """Half width (..., h) for spreads (..., h) over the first h <= H horizons."""
        horizon = spread.shape[-1]
        quantile, floor = (torch.tensor(part[:horizon], dtype=spread.dtype, device=spread.device) for part in (self.quantile, self.floor))
        if horizon > len(self.quantile):
            raise CheckpointError("the calibration does not reach that far", got=f"{horizon} frames", allowed=f"1 .. {len(self.quantile)}")
        return quantile * (spread + floor) if self.score == SCORES[1] else quantile.expand(spread.shape)


def write(folder: Path, calibration: Calibration | None) -> None:
    """Put it beside a checkpoint in place of an earlier one; None: only remove that."""
    path = folder / FILE
    if calibration is None:
        path.unlink(missing_ok=True)
        return
    growing = path.with_name(f".{FILE}.growing")
    growing.write_text(json.dumps(asdict(calibration), indent=1), encoding="utf-8")
    os.replace(growing, path)


def read(folder: Path, weights: str) -> Calibration | None:
    """The calibration beside a checkpoint, None where there is none; one of other weights is refused."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        calibration = _of_record(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read", got=repr(error), mend="evaluate the checkpoint again") from error
    if calibration.weights != weights:
        got, allowed = calibration.weights[:12], weights[:12]
        raise CheckpointError(f"{path} was measured with other weights", got=got, allowed=allowed, mend="evaluate the checkpoint again")
    return calibration


def _of_record(record: dict[str, Any]) -> Calibration:
    """Every number must be there, be finite and fit the others."""
    parts = [tuple(float(value) for value in record[name]) for name in ("quantile", "floor", "spread")]
    values = torch.tensor([number for part in parts for number in part])
    if len({len(part) for part in parts}) != 1 or not torch.isfinite(values).all() or (values < 0).any():
        raise ValueError("bands that are not finite, or not one per horizon")
    if record["score"] not in SCORES:
        raise ValueError(f"score {record['score']}")
    return Calibration(
        weights=str(record["weights"]),
        grid=(int(record["grid"][0]), int(record["grid"][1])),
        steps=int(record["steps"]),
        seeds=int(record["seeds"]),
        context=int(record["context"]),
        coverage=float(record["coverage"]),
        score=record["score"],
        quantile=parts[0],
        floor=parts[1],
        spread=parts[2],
        clips=int(record["clips"]),
        episodes=int(record["episodes"]),
    )
