"""Which episodes are held out: decided for each by itself, so that a dataset may grow and no episode ever changes sides."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def held_out(dataset: str, episodes: int, share: float, seed: int) -> NDArray[np.bool_]:
    """For every episode of a dataset whether it is held out, (episodes,); about `share` of them, at least one if any are asked for."""
    if share <= 0.0 or episodes == 0:
        return np.zeros(episodes, dtype=np.bool_)
    draws = np.array([_draw(f"{seed}/{dataset}/{episode}") for episode in range(episodes)])
    chosen = draws < share
    chosen[np.argmin(draws)] = True
    return chosen


def _draw(text: str) -> float:
    """A number in 0 .. 1 that is the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64
