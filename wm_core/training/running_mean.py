"""Means of named values over many steps and all processes, without waiting for the device at each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wm_core.training.distributed import Processes


class RunningMean:
    """Adds up pairs (2,) of a sum and a count; the names are known from the start, since each process may meet others of them."""

    def __init__(self, names: Sequence[str], processes: Processes) -> None:
        self._names, self._processes = tuple(names), processes
        self._begin()

    def add(self, pairs: Mapping[str, Tensor]) -> None:
        for name, pair in pairs.items():
            self._pairs[name] = self._pairs[name] + pair

    def result(self) -> dict[str, float]:
        """The means of what was counted at least once on any process; counting begins anew. All processes must ask."""
        totals = self._processes.total(torch.stack([self._pairs[name] for name in self._names])).tolist()
        self._begin()
        return {name: total / count for name, (total, count) in zip(self._names, totals, strict=True) if count > 0}

    def _begin(self) -> None:
        self._pairs = dict.fromkeys(self._names, torch.zeros(2, dtype=torch.float64, device=self._processes.device))
