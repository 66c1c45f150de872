"""Statistics per channel of latents, actions and proprioception; they live in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wm_core.errors import WorldModelError

CONSTANT = 1e-6  # a channel that varies less than this share of the largest value is constant


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel (D,), float32; a constant channel has standard deviation 1."""

    mean: Tensor
    std: Tensor

    def normalise(self, values: Tensor) -> Tensor:
        """(..., D) to zero mean and unit deviation per channel."""
        self._check(values)
        return (values.float() - self.mean.to(values.device)) / self.std.to(values.device)

    def denormalise(self, values: Tensor) -> Tensor:
        """The inverse of normalise."""
        self._check(values)
        return values.float() * self.std.to(values.device) + self.mean.to(values.device)

    def _check(self, values: Tensor) -> None:
        if values.shape[-1] != len(self.mean):
            raise WorldModelError(
                "the values do not have the channels of the statistics", got=values.shape[-1], allowed=str(len(self.mean))
            )

    def record(self) -> dict[str, list[float]]:
        """For a JSON file."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> Statistics:
        mean, std = torch.tensor(record["mean"], dtype=torch.float32), torch.tensor(record["std"], dtype=torch.float32)
        if mean.shape != std.shape or mean.ndim != 1 or not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise WorldModelError(
                "the statistics are not valid", got=f"{tuple(mean.shape)} means", allowed="finite means, positive deviations"
            )
        return Statistics(mean, std)


class RunningStatistics:
    """Statistics of values seen batch by batch, in float64."""

    def __init__(self, channels: int) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Values (..., D); a value that is not finite is refused."""
        if values.shape[-1] != len(self.mean):
            raise WorldModelError("the values have another number of channels", got=values.shape[-1], allowed=str(len(self.mean)))
        rows = values.detach().reshape(-1, values.shape[-1]).cpu().double()
        if not torch.isfinite(rows).all():
            raise WorldModelError("values to normalise are not finite", got=f"{int((~torch.isfinite(rows)).any(-1).sum())} rows")
        if len(rows) == 0:
            return
        mean, total = rows.mean(0), self.count + len(rows)
        gap = mean - self.mean
        self.squares += (rows - mean).square().sum(0) + gap.square() * (self.count * len(rows) / total)
        self.mean, self.count = self.mean + gap * (len(rows) / total), total

    def result(self) -> Statistics:
        if self.count < 2:
            raise WorldModelError("too few values for statistics", got=self.count, allowed="at least 2")
        std = (self.squares / self.count).sqrt()
        largest = torch.maximum(self.mean.abs().max(), std.max())
        return Statistics(self.mean.float(), torch.where(std > CONSTANT * largest, std, 1.0).float())
