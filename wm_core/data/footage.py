"""The pictures of one camera of a recording, read from the file as they are asked for: an hour of them never is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from wm_core.data.bag import Heard
from wm_core.data.errors import EpisodeError
from wm_core.data.picture import Picture, compressed_picture, picture

COMPRESSED = "sensor_msgs/msg/CompressedImage"


def picture_of(heard: Heard) -> Picture:
    """RGB (H, W, 3) of a camera's message."""
    return compressed_picture(heard.message) if heard.kind == COMPRESSED else picture(heard.message)


def size_of(kind: str, data: bytes) -> tuple[int, int]:
    """Rows and columns of the picture in a camera's message."""
    rows, columns, _ = picture_of(Heard("", kind, 0.0, data)).shape
    return rows, columns


class Footage:
    """Pictures (T, H, W, 3) uint8, row by row in order; `chosen` (T,) says which message of the topic each row shows, and never falls."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, messages: Callable[[], Iterator[Heard]], topic: str, chosen: NDArray[np.int64], size: tuple[int, int]) -> None:
        self.shape = (len(chosen), *size, 3)
        self._chosen, self._topic, self._messages = chosen, topic, messages
        self._shown: Picture = np.zeros(self.shape[1:], np.uint8)
        self._begin()

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, row: int) -> Picture:
        wanted = int(self._chosen[row])
        if wanted < self._at:
            self._begin()
        while self._at < wanted:
            heard = next((one for one in self._stream if one.topic == self._topic), None)
            if heard is None:
                raise EpisodeError(f"{self._topic} has fewer messages than before", got=self._at + 1, allowed=f"more than {wanted}")
            self._at += 1
            if self._at == wanted:
                self._shown = picture_of(heard)
        return self._shown

    def _begin(self) -> None:
        self._stream, self._at = self._messages(), -1
