"""Which episodes are held out: decided for each by itself, so that a dataset may grow and none that was trained on is ever held out."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def held_out(dataset: str, episodes: int, share: float, seed: int) -> NDArray[np.bool_]:
    """For every episode of a dataset whether it is held out, (episodes,); about `share` of them, at least one if any are asked for.

    Held out is every episode whose own draw is below `share`, however many others there are; and the one with the smallest draw, which
    matters where none is below. When the dataset grows, that one alone may go over to training, because a new episode has a smaller draw.
    """
    if share <= 0.0 or episodes == 0:
        return np.zeros(episodes, dtype=np.bool_)
    draws = np.array([draw(dataset, episode, seed) for episode in range(episodes)])
    chosen = draws < share
    chosen[np.argmin(draws)] = True
    return chosen


def draw(dataset: str, episode: int, seed: int) -> float:
    """The number of an episode in 0 .. 1, the same on every machine and however many episodes there are."""
    return int.from_bytes(blake2b(f"{seed}/{dataset}/{episode}".encode(), digest_size=8).digest(), "big") / 2.0**64
