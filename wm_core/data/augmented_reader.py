"""Pictures of a dataset as they might have been: in other light, from a camera that stands a little nearer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wm_core.data import augment
from wm_core.data.augment import AugmentConfig
from wm_core.data.reader import DatasetReader


class AugmentedReader(DatasetReader):
    """A reader whose pictures are changed: by one draw for each episode and `copy` (1, 2, ...), the same for all its rows and cameras."""

    def __init__(self, reader: DatasetReader, config: AugmentConfig, copy: int) -> None:
        super().__init__(reader.root, reader.config, reader.preprocessing)
        self._augmentation, self._copy = config, copy

    def frames(self, episode: int, rows: NDArray[np.int64], role: str) -> NDArray[np.uint8]:
        draws = np.random.default_rng([self._augmentation.seed, self._copy, episode, *self.name.encode()])
        return augment.draw(self._augmentation, draws).apply(super().frames(episode, rows, role))
